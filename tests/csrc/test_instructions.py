"""The inner loops of the search kernels, held to the table instructions.csv; no device is needed.

`python tests/csrc/instructions.py --record` writes the table anew.
"""

import math
import re

import instructions
import machine_code
import pytest

# A twentieth more than recorded for instructions; nothing more for the rest.
MARGIN = 1.05


def rows(kernel):
    """(kernel, bits, sm) -> row of the table, for kernels whose whole name matches."""
    return {
        key[1:]: row for key, row in instructions.table().items() if re.fullmatch(kernel, key[1])
    }


def check(found):
    machine_code.skip_with_another_compiler()
    recorded = instructions.table()
    for key, (pairs, count, work, limits, shared) in found.items():
        assert key in recorded, f"{key} is new: write the table anew"
        known = recorded[key]
        assert pairs == known[0], (key, pairs)
        assert count <= math.ceil(MARGIN * known[1]), (key, count)
        assert work <= known[2], (key, work)
        assert limits <= known[3], (key, limits)
        assert shared <= known[4], (key, shared)


def test_few_queries_read_a_limit_less_than_once_in_2_kib_of_codes():
    # All queries of a launch together, of a warp.
    dense, others = rows(r"scan_dense<\d+, \d>"), rows(r"scan_rows<\d+, \d>")
    assert len(dense) == 2 * 3 * len(instructions.DENSE)
    assert len(others) == 2 * 3 * len(instructions.BYTES)
    for row in [*dense.values(), *others.values()]:
        assert 0 < row[3] <= 0.5


@pytest.mark.parametrize("pairing", ["Binary", "Int8"])
def test_up_to_16_queries_read_their_limits_once_in_a_tile_of_a_block(pairing):
    found = rows(rf"select_mma<{pairing}, \d, 1, \w+>")
    assert len(found) == 2 * len(instructions.BYTES)
    for (_, bits, _), row in found.items():
        tile = instructions.shapes()["select_mma.1", bits // 8]["tile"]
        assert row[3] == pytest.approx(1024 / (tile * bits // 8), abs=1e-3)


@pytest.mark.parametrize("queries", [1, 2, 3])
@pytest.mark.parametrize("sm", instructions.ARCHITECTURES)
def test_48_bits_are_scanned_as_fast_as_64(queries, sm):
    def a_byte(length):
        name = f"scan_dense<{length}, {queries}>"
        pairs, count, *_ = rows(name)[name, 8 * length, sm]
        return count / (pairs / queries * length)

    assert a_byte(6) <= 1.15 * a_byte(8)


def test_the_shortest_way_through_a_loop_is_found():
    """A loop that branches around another one, which is no part of a turn."""
    lines = """MOV R1, c[0x0]
        POPC R2, R3
        @P0 BRA 0x50
        ATOMG.E.ADD R4, R5
        @P1 BRA 0x30
        IADD3 R1, R1, 0x1
        @!P0 BRA 0x10
        EXIT""".splitlines()
    code = [(16 * i, line.strip()) for i, line in enumerate(lines)]
    loop, loops, turn = machine_code.busiest(code, "POPC")
    assert (loop.header, len(loops)) == (0x10, 2)
    assert turn == ["POPC R2, R3", "@P0 BRA 0x50", "IADD3 R1, R1, 0x1", "@!P0 BRA 0x10"]


@machine_code.needs_nvcc
def test_bits_are_multiplied_by_tensor_cores_in_the_recorded_loops(tmp_path):
    cubin, _ = machine_code.compiled("binary.cu", 90, tmp_path)
    operations = re.findall(r"\b[A-Z]*MMA[.\w]*", machine_code.listing(cubin))
    # One instruction does what mma_b1 asks; where it is emulated there are several, of other kinds.
    assert operations and set(operations) == {"BMMA.168256.AND.POPC"}
    check(instructions.measured(cubin, "binary.cu", 90))


@machine_code.needs_nvcc
@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("unit", instructions.UNITS)
def test_every_loop_keeps_to_the_table(unit, tmp_path):
    for sm in instructions.ARCHITECTURES:
        cubin, _ = machine_code.compiled(unit, sm, tmp_path)
        check(instructions.measured(cubin, unit, sm))
