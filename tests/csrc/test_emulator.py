"""The emulator of CUDA kernels held to what it promises: what is right stays right in every order
of threads, and each kind of mistake is named or shows in the answer."""

import subprocess

import pytest

RIGHT = ["barrier", "collectives", "copied", "mma b1", "mma s8"]
WRONG = {
    "missing barrier": "wrong",
    "copied too early": "wrong",
    "barriers apart": "others wait in another at",
    "returns before barrier": "has returned",
    "returns before vote": "has returned",
    "votes apart": "wait in __ballot_sync",
    "foreign mask": "does not name lane",
    "lane missing": "__syncwarp with mask ffffffff",
    "outside mask": "reads lane 20, which is not in its mask",
    "unaligned": "is no multiple of 8",
    "copy forgotten": "nobody waited for",
    "beyond shared": "heap-buffer-overflow",
    "beyond global": "heap-buffer-overflow",
    "too many threads": "at most 1024",
    "too much shared memory": "at most 232448",
}


@pytest.fixture(scope="module")
def selftest(emulated):
    """Runs one of its kernels in one order of threads -> the finished process."""
    program = emulated.build("selftest", [emulated.emulator / "selftest.cpp"])
    return lambda name, seed: subprocess.run(
        [program, name, str(seed)], capture_output=True, text=True, timeout=60
    )


@pytest.mark.parametrize("name", RIGHT)
def test_what_is_right_stays_right(selftest, name):
    for seed in range(8):
        done = selftest(name, seed)
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("name", WRONG)
def test_a_mistake_is_caught_in_every_order(selftest, name):
    for seed in (0, 1, 5):
        done = selftest(name, seed)
        assert done.returncode != 0
        assert WRONG[name] in done.stdout + done.stderr
