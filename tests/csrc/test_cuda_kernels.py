"""The CUDA kernels, run by the emulator, against plain loops bit for bit; and that mistakes in
them, made on purpose, are caught."""

import shutil
import subprocess

import pytest

# Rounds that are run by default: each length of codes from 1 to 40 bytes once, and larger ones.
OPERATIONS = {
    "topk-scan": 48,
    "topk-popcount": 48,
    "topk-binary": 48,
    "topk-int8": 48,
    "topk-automatic": 16,
    "range": 48,
    "pairs": 48,
    "groups": 30,
    "layouts": 32,
    "turns": 4,
}

# What is changed in which file, the unit that is compiled with it, and what then has to fail.
MUTANTS = {
    "a barrier less while tiles are swapped": (
        "select_mma.cuh",
        "    copy_async_wait();\n    __syncthreads();\n",
        "    copy_async_wait();\n",
        "binary.cu",
        "topk-binary",
    ),
    "two registers of a fragment swapped": (
        "mma.cuh",
        "uint4{halves[0].x, halves[1].x, halves[0].y, halves[1].y}",
        "uint4{halves[0].x, halves[0].y, halves[1].x, halves[1].y}",
        "binary.cu",
        "topk-binary",
    ),
    "ties with the k-th code are lost": (
        "finish.cu",
        "key_of(*limit + 1, 0)",
        "key_of(*limit, 0)",
        "finish.cu",
        "topk-scan",
    ),
}
MORE_MUTANTS = {
    "a code that two words share is cut off": (
        "scan.cu",
        "low_bytes(end - 4 * w) & ~low_bytes(begin - 4 * w)",
        "low_bytes(end - 4 * w)",
        "scan.cu",
        "layouts",
    ),
    "the zeros behind the last unit are taken for codes": (
        "scan.cu",
        "if (row >= codes.count) break;",
        "if (row >= codes.count + 4) break;",
        "scan.cu",
        "layouts",
    ),
    "the codes behind the last unit are left out": (
        "scan.cu",
        "i - skipped.first + skipped.last",
        "i",
        "scan.cu",
        "layouts",
    ),
    "two units of a turn are the same": (
        "scan.cu",
        "for (int i = 0; i < kLoads; ++i) values[i].read(from + i * kThreads * kUnitBytes);",
        "for (int i = 0; i < kLoads; ++i) values[i].read(from + i / 2 * kThreads * kUnitBytes);",
        "scan.cu",
        "turns",
    ),
    "bytes of the next row are not cleared": (
        "rows.cuh",
        "8 * before) & low_bytes(left - 4 * i);",
        "8 * before);",
        "scan.cu",
        "layouts",
    ),
    "words are read beyond the last row": (
        "rows.cuh",
        "first + (span + 3) / 4 * 4 > rows.end",
        "first > rows.end",
        "pack.cu",
        "layouts",
    ),
    "a group that begins before the first row is copied": (
        "mma.cuh",
        "if (from >= codes.begin && from + 16 <= codes.end) {",
        "if (from + 16 <= codes.end) {",
        "binary.cu",
        "layouts",
    ),
    "words of raw tiles are not shifted": (
        "select_mma.cuh",
        "code[j] = Pairing::code(shifted(from, shift), lane % 4);",
        "code[j] = Pairing::code(*from, lane % 4);",
        "int8.cu",
        "layouts",
    ),
    "the limits of another buffer": (
        "select_mma.cuh",
        "    biases.store(buffer ^ 1);\n",
        "",
        "binary.cu",
        "topk-binary",
    ),
    "the rest of a batch is left out": (
        "sweep.cuh",
        "    if (full < count) {\n",
        "    if (full + 1 < count) {\n",
        "count.cu",
        "layouts",
    ),
    "a tile is read before it is there": (
        "sweep.cuh",
        "    read_tile<kWords>(codes, start, count, tile, words);\n    __syncthreads();\n",
        "    read_tile<kWords>(codes, start, count, tile, words);\n",
        "popcount.cu",
        "topk-popcount",
    ),
    "copies are not waited for": (
        "select_mma.cuh",
        "    copy_async_wait();\n",
        "",
        "binary.cu",
        "topk-binary",
    ),
    "the columns of two lanes swapped": (
        "select_mma.cuh",
        "2 * (lane % 4) + n % 2;",
        "2 * (lane % 4 ^ 1) + n % 2;",
        "int8.cu",
        "topk-int8",
    ),
    "one place for two codes": (
        "rank.cu",
        "  __syncwarp();\n  if (counted && (same & before) == 0)",
        "  if (counted && (same & before) == 0)",
        "rank.cu",
        "range",
    ),
    "codes at the limit are lost": (
        "popcount.cu",
        "if (distance <= limit) append",
        "if (distance < limit) append",
        "popcount.cu",
        "topk-popcount",
    ),
}


def run(program, operation, first, last, schedules, timeout=240):
    command = [program, operation, str(first), str(last), str(schedules)]
    return subprocess.run(command, capture_output=True, text=True, timeout=timeout)


@pytest.fixture(scope="session")
def check_cuda(emulated):
    return emulated.build("check_cuda", [emulated.tests / "check_cuda.cpp", *emulated.kernels])


@pytest.mark.parametrize("operation", OPERATIONS)
def test_kernels_give_what_loops_give(check_cuda, operation):
    done = run(check_cuda, operation, 0, OPERATIONS[operation], 1)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("operation", ["topk-binary", "topk-scan", "range"])
def test_the_order_of_threads_and_blocks_changes_nothing(check_cuda, operation):
    done = run(check_cuda, operation, 52, 55, 6)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("operation", OPERATIONS)
def test_kernels_give_what_loops_give_in_many_rounds(check_cuda, operation):
    done = run(check_cuda, operation, 48, 600, 3, timeout=3600)
    assert done.returncode == 0, done.stdout + done.stderr


def fails(emulated, folder, name, mutant, rounds):
    """Builds the check with one file changed and sees it fail."""
    file, old, new, unit, operation = mutant
    shutil.copytree(emulated.cuda, folder / "cuda")
    changed = folder / "cuda" / file
    text = changed.read_text()
    assert text.count(old) == 1, f"{file} has no longer one place to change"
    changed.write_text(text.replace(old, new))
    # The changed unit first: of an inline function the linker takes the first that it sees.
    kernels = [folder / "cuda" / unit, *(k for k in emulated.kernels if k.name != unit)]
    program = emulated.build("mutant", [*kernels, emulated.tests / "check_cuda.cpp"])
    done = run(program, operation, 0, rounds, 1)
    assert done.returncode != 0, f"not caught: {name}"
    assert "differs" in done.stdout or "emulator:" in done.stderr or "ERROR" in done.stderr


@pytest.mark.parametrize("name", MUTANTS)
def test_a_mistake_in_a_kernel_is_caught(emulated, check_cuda, tmp_path, name):
    fails(emulated, tmp_path, name, MUTANTS[name], 48)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", MORE_MUTANTS)
def test_more_mistakes_in_kernels_are_caught(emulated, check_cuda, tmp_path, name):
    fails(emulated, tmp_path, name, MORE_MUTANTS[name], 240)
