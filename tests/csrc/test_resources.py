"""Registers, spills and shared memory of CUDA kernels, held to the table resources.csv.

No device is needed. `python tests/csrc/test_resources.py` writes the table anew, for every unit.
"""

import csv
import math
import re
import shutil
import subprocess
from pathlib import Path

import pytest

CUDA = Path(__file__).parent.parent.parent / "csrc" / "cuda"
TABLE = Path(__file__).with_name("resources.csv")
COLUMNS = ["unit", "kernel", "sm", "registers", "spilled_bytes", "static_shared_bytes"]
# The nvcc that wrote the table; another one has to compile, and may allocate as it likes.
COMPILER = "13.0"
# A quarter more than recorded for registers; nothing more for the rest.
MARGIN = 1.25
UNITS = sorted(path.name for path in CUDA.glob("*.cu"))
FAST = ["binary.cu", "finish.cu"]


def compiler():
    for place in (shutil.which("nvcc"), "/usr/local/cuda/bin/nvcc"):
        if place and Path(place).exists():
            return place
    return None


def compiled(unit, sm, folder):
    """-> (cubin, what ptxas says of it)."""
    cubin = Path(folder) / f"{unit}.{sm}.cubin"
    command = [compiler(), "-std=c++17", "-O3", f"-I{CUDA.parent}", f"-arch=sm_{sm}"]
    command += ["-Xptxas", "-v", "-cubin"]
    done = subprocess.run(
        [*command, str(CUDA / unit), "-o", str(cubin)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return cubin, subprocess.run(
        ["c++filt"], input=done.stdout + done.stderr, capture_output=True, text=True, check=True
    ).stdout


def measured(units, architectures, folder):
    """(unit, kernel, sm) -> (registers, bytes of spills, bytes of static shared memory)."""
    rows = {}
    for unit in units:
        for sm in architectures:
            for entry in compiled(unit, sm, folder)[1].split("Compiling entry function '")[1:]:
                name = re.sub(r"void |semicon_fast::cuda::|\(anonymous namespace\)::", "", entry)
                spills = sum(map(int, re.findall(r"(\d+) bytes spill", entry)))
                registers = int(re.search(r"Used (\d+) registers", entry)[1])
                shared = re.search(r"(\d+) bytes smem", entry)
                key = unit, name.split("(")[0], sm
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
    version = subprocess.run([compiler(), "--version"], capture_output=True, text=True).stdout
    if f"release {COMPILER}," not in version:
        pytest.skip(f"compiled; the table is of nvcc {COMPILER}, not {version.split()[-1]}")
    recorded = table()
    for key, (registers, spills, shared) in rows.items():
        assert key in recorded, f"{key} is new: write the table anew"
        assert registers <= math.ceil(MARGIN * recorded[key][0]), (key, registers)
        assert spills <= recorded[key][1], (key, spills)
        assert shared <= recorded[key][2], (key, shared)


needs_nvcc = pytest.mark.skipif(compiler() is None, reason="no nvcc")


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


def disassembler():
    """cuobjdump, of the toolkit or of Triton."""
    found = shutil.which("cuobjdump")
    if found is None:
        triton = pytest.importorskip("triton")
        found = triton.knobs.nvidia.cuobjdump.path
    return found


@needs_nvcc
def test_bits_are_multiplied_by_tensor_cores(tmp_path):
    cubin, _ = compiled("binary.cu", 90, tmp_path)
    listing = subprocess.run(
        [disassembler(), "-sass", str(cubin)], capture_output=True, text=True, check=True
    ).stdout
    operations = re.findall(r"\b[A-Z]*MMA[.\w]*", listing)
    # One instruction does what mma_b1 asks; where it is emulated there are several, of other kinds.
    assert operations and set(operations) == {"BMMA.168256.AND.POPC"}


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
