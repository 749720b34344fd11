"""Registers, spills and shared memory of CUDA kernels, held to the table resources.csv.

No device is needed. `python tests/csrc/test_resources.py` writes the table anew, for every unit.
"""

import csv
import math
import re
from pathlib import Path

import pytest
from machine_code import (
    CUDA,
    compiled,
    needs_nvcc,
    short,
    skip_with_another_compiler,
)

TABLE = Path(__file__).with_name("resources.csv")
COLUMNS = ["unit", "kernel", "sm", "registers", "spilled_bytes", "static_shared_bytes"]
# A quarter more than recorded for registers; nothing more for the rest.
MARGIN = 1.25
UNITS = sorted(path.name for path in CUDA.glob("*.cu"))
FAST = ["finish.cu", "pack.cu"]


def measured(units, architectures, folder):
    """(unit, kernel, sm) -> (registers, bytes of spills, bytes of static shared memory)."""
    rows = {}
    for unit in units:
        for sm in architectures:
            for entry in compiled(unit, sm, folder)[1].split("Compiling entry function '")[1:]:
                spills = sum(map(int, re.findall(r"(\d+) bytes spill", entry)))
                registers = int(re.search(r"Used (\d+) registers", entry)[1])
                shared = re.search(r"(\d+) bytes smem", entry)
                key = unit, short(entry), sm
                rows[key] = registers, spills, int(shared[1]) if shared else 0
    return rows


def table():
    with TABLE.open(newline="") as file:
        return {
            (row["unit"], row["kernel"], int(row["sm"])): tuple(int(row[c]) for c in COLUMNS[3:])
            for row in csv.DictReader(file)
        }


def check(rows):
    assert rows
    skip_with_another_compiler()
    recorded = table()
    for key, (registers, spills, shared) in rows.items():
        assert key in recorded, f"{key} is new: write the table anew"
        assert registers <= math.ceil(MARGIN * recorded[key][0]), (key, registers)
        assert spills <= recorded[key][1], (key, spills)
        assert shared <= recorded[key][2], (key, shared)


def test_nothing_in_the_table_spills():
    rows = table()
    assert {sm for _, _, sm in rows} == {80, 90}
    assert not [key for key, row in rows.items() if row[1]]


@needs_nvcc
@pytest.mark.parametrize("unit", FAST)
def test_kernels_keep_to_the_table(unit, tmp_path):
    check(measured([unit], [90], tmp_path))


@needs_nvcc
@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("unit", UNITS)
def test_every_kernel_keeps_to_the_table(unit, tmp_path):
    rows = measured([unit], [80, 90], tmp_path)
    if rows:
        check(rows)


def write_table():
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        rows = measured(UNITS, [80, 90], folder)
    with TABLE.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows((*key, *row) for key, row in sorted(rows.items()))


if __name__ == "__main__":
    write_table()
