"""What the inner loops of the search kernels are made of, for every path and width.

    python tests/csrc/instructions.py            prints the table, of the machine code of sm_90
    python tests/csrc/instructions.py --record   writes instructions.csv, of sm_80 and sm_90

Needs nvcc and cuobjdump, no device. All figures are of one turn of the loop by a warp:

    pairs          queries times codes (for codes of more than 256 bits: times 16 bytes of them)
    instructions   of the shortest way through the loop: no code is within a limit
    work           POPC of a lane, or products of tensor cores
    limits_per_kib loads of limits a KiB of codes: of a warp; on tensor cores of a block, whose
                   warps share a tile
    shared_bytes   of a block
"""

import argparse
import csv
import math
import subprocess
import tempfile
from functools import lru_cache
from pathlib import Path

import machine_code

TABLE = Path(__file__).with_name("instructions.csv")
KEY = ["unit", "kernel", "bits", "sm"]
COLUMNS = [*KEY, "pairs", "instructions", "work", "limits_per_kib", "shared_bytes"]
ARCHITECTURES = [80, 90]
BYTES = [2, 3, 6, 8, 12, 16, 24, 32, 64]  # 12 bits are kept in 2 bytes
DENSE = [2, 3, 4, 6, 8, 12, 16, 24, 32]
WARP, WARPS, BATCH, AHEAD = 32, 8, 4, 4


@lru_cache
def shapes():
    """(kernel, bytes) -> sizes, as the functions that launch it have them."""
    tests = Path(__file__).parent
    flags = ["-std=c++17", "-O1", "-w", "-no-pie", "-DSEMICON_FAST_EMULATE"]
    flags += [f"-I{folder}" for folder in (tests / "emulator", machine_code.CUDA)]
    flags += [f"-I{machine_code.CUDA.parent}", "-Wl,--unresolved-symbols=ignore-all"]
    with tempfile.TemporaryDirectory() as folder:
        program = str(Path(folder) / "shapes")
        subprocess.run(["g++", *flags, str(tests / "shapes.cpp"), "-o", program], check=True)
        lines = subprocess.run([program], capture_output=True, text=True, check=True).stdout
    found = {}
    for line in lines.splitlines():
        kernel, length, *sizes = line.split()
        found[kernel, int(length)] = dict(zip(sizes[::2], map(int, sizes[1::2]), strict=True))
    return found


def words_of(length):
    """Words that kernels hold of a code in registers; 0: none."""
    return next((words for words in (2, 4, 8) if length <= 4 * words), 0)


def words_touched(length):
    """Words of codes without gaps that the codes of a unit touch, and the codes."""
    codes = 16 // math.gcd(16, length)
    ends = [(i * length, (i + 1) * length - 1) for i in range(codes)]
    return sum(last // 4 - first // 4 + 1 for first, last in ends), codes


def cases(unit):
    """(kernel, bytes, pairs a turn, work a turn, pattern of that work, limits, shape's name).

    limits(loads in the loops, sizes) -> loads a KiB of codes.
    """
    every = ((q, length) for length in (DENSE if unit == "scan.cu" else BYTES) for q in (1, 2, 3))
    popc = r"\bPOPC\b"
    of_turns = lambda loads, s: loads / s["turns"] / s["turn_bytes"] * 1024  # noqa: E731
    if unit == "scan.cu":
        for q, length in every:
            touched, codes = words_touched(length)
            units = 2 if length % 3 == 0 else 4
            name = f"scan_dense<{length}, {q}>"
            work = units * touched * q
            yield name, length, WARP * units * codes * q, work, popc, of_turns, "scan_dense"
        for length in BYTES:
            for q in (1, 2, 3):
                words = words_of(length)
                name = f"scan_rows<{words}, {q}>"
                yield name, length, WARP * q, (words or 4) * q, popc, of_turns, "scan_rows"
    in_memory = {"popcount.cu": "select_lanes", "count.cu": "count_columns"}
    if unit in in_memory:
        kernel = in_memory[unit]
        for length in BYTES:
            words = words_of(length)
            of_tile = lambda loads, s, n=length: loads / (s["tile"] * n) * 1024  # noqa: E731
            work = BATCH * (words or 4)
            yield f"{kernel}<{words}>", length, WARP * BATCH, work, popc, of_tile, kernel
    if unit in ("binary.cu", "int8.cu"):
        pairing, step = ("Binary", 16) if unit == "binary.cu" else ("Int8", 4)
        for length in BYTES:
            for tiles in (1, 4):
                steps = math.ceil(length / step)
                held = steps if steps <= 2 else 0
                raw = "true" if length % 4 else "false"
                groups = 2 if tiles == 1 and not held else 8 // tiles  # of 8 codes
                name = f"select_mma<{pairing}, {held}, {tiles}, {raw}>"
                readers = 1 if tiles == 1 else WARPS
                limits = lambda loads, s, n=length, r=readers: (  # noqa: E731
                    loads * r / (s["tile"] * n) * 1024
                )
                work = groups * tiles * (held or 1)
                pairs = 16 * tiles * 8 * groups
                pattern = r"\b[BI]MMA\b"
                yield name, length, pairs, work, pattern, limits, f"select_mma.{tiles}"


UNITS = ["binary.cu", "count.cu", "int8.cu", "popcount.cu", "scan.cu"]


def measured(cubin, unit, sm):
    """Rows of the table: key -> the other columns."""
    code, rows, found = machine_code.kernels(cubin), {}, {}
    for name, length, pairs, work, pattern, limits, shape in cases(unit):
        if name not in found:
            found[name] = machine_code.busiest(code[name], pattern)
        loop, loops, turn = found[name]
        done = machine_code.count(turn, pattern)
        # The compiler may make several turns one.
        assert done and done % work == 0, f"{name}: {done} instead of {work} {pattern} a turn"
        around = [loop, *loop.within]
        loads = sum(loop.blocks[at].count(r"LDG\S*STRONG") for a in around for at in a.own(loops))
        sizes = shapes()[shape, length]
        rows[unit, name, 8 * length, sm] = (
            pairs * done // work, len(turn), done, round(limits(loads, sizes), 3), sizes["shared"],
        )  # fmt: skip
    return rows


def table():
    with TABLE.open(newline="") as file:
        return {
            (row["unit"], row["kernel"], int(row["bits"]), int(row["sm"])): (
                int(row["pairs"]), int(row["instructions"]), int(row["work"]),
                float(row["limits_per_kib"]), int(row["shared_bytes"]),
            )
            for row in csv.DictReader(file)
        }  # fmt: skip


def show(rows):
    print(
        f"{'kernel':35} {'bits':>4} {'pairs':>6} {'instructions':>12} {'/32 pairs':>9} "
        f"{'work':>5} {'/32 pairs':>9} {'limits/KiB':>10} {'shared':>7}"
    )
    for (_, name, bits, _), (pairs, instructions, work, limits, shared) in rows.items():
        print(
            f"{name:35} {bits:4} {pairs:6} {instructions:12} {32 * instructions / pairs:9.2f} "
            f"{work:5} {32 * work / pairs:9.3f} {limits:10.3f} {shared:7}"
        )


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--record", action="store_true", help=f"write {TABLE.name}")
    parser.add_argument("--units", nargs="+", default=UNITS, choices=UNITS, metavar="UNIT")
    options = parser.parse_args()
    rows = table() if options.record and options.units != UNITS else {}
    with tempfile.TemporaryDirectory() as folder:
        for unit in options.units:
            for sm in ARCHITECTURES if options.record else ARCHITECTURES[-1:]:
                cubin, _ = machine_code.compiled(unit, sm, folder)
                rows |= measured(cubin, unit, sm)
    if not options.record:
        return show(rows)
    with TABLE.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows((*key, *row) for key, row in sorted(rows.items()))


if __name__ == "__main__":
    main()
