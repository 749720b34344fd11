"""What is on disk when a save is killed or the disk is full."""

import os
import random
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from semicon_fast.search import HammingIndex, pack_codes

ROOT = Path(__file__).resolve().parents[2]

SAVES = """
import sys
import numpy as np
from semicon_fast.search import HammingIndex
rng = np.random.default_rng(int(sys.argv[2]))
index = HammingIndex(64)
index.add(rng.integers(0, 256, (500_000, 8), dtype=np.uint8), np.arange(500_000) * 3)
while True:
    print("saving", flush=True)
    index.save(sys.argv[1])
"""


def codes(rows, seed=0):
    return pack_codes(np.random.default_rng(seed).standard_normal((rows, 64)))


def built(rows, seed=0):
    index = HammingIndex(64)
    index.add(codes(rows, seed))
    return index


def child(code, *arguments):
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def killed_while_saving(path, seed, after):
    saving = child(SAVES, path, seed)
    assert saving.stdout.readline() == b"saving\n"
    time.sleep(after)
    saving.send_signal(signal.SIGKILL)
    saving.wait()
    saving.stdout.close()
    saving.stderr.close()


def assert_whole(path, seeds):
    """An index that one of the writers wrote, to the last byte."""
    index = HammingIndex.load(path, verify=True)
    assert len(index) == 500_000
    first = index.reconstruct([0])
    assert any(
        np.array_equal(first, np.random.default_rng(seed).integers(0, 256, (1, 8), dtype=np.uint8))
        for seed in seeds
    )


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_a_save_that_is_killed_leaves_the_old_index_or_the_new_one(tmp_path):
    path, draw = tmp_path / "index", random.Random(6)
    first = HammingIndex(64)
    rows = np.random.default_rng(0).integers(0, 256, (500_000, 8), dtype=np.uint8)
    first.add(rows, np.arange(500_000) * 3)
    first.save(path)
    strays = 0
    for seed in range(1, 51):
        killed_while_saving(path, seed, draw.uniform(0, 0.06))
        assert_whole(path, range(seed + 1))
        strays = len(list(tmp_path.iterdir())) - 1
    assert strays >= 10, "hardly any of the kills fell into a save"
    first.save(path)
    assert_whole(path, (0,))


def test_a_kill_in_the_middle_leaves_the_old_index(tmp_path):
    """The writer stops itself when half of the new file is written."""
    path = tmp_path / "index"
    built(1000).save(path)
    code = """
import os, signal, sys
import numpy as np
from semicon_fast.search import HammingIndex, _file
views = _file.views
def half(array):
    for i, view in enumerate(views(array)):
        if half.calls > 1:
            os.kill(os.getpid(), signal.SIGKILL)
        yield view
    half.calls += 1
half.calls = 0
_file.views = half
index = HammingIndex(64)
index.add(np.zeros((2000, 8), np.uint8), np.arange(2000) * 2)
index.save(sys.argv[1])
"""
    writer = child(code, path)
    assert writer.wait() == -signal.SIGKILL, writer.stderr.read()
    index = HammingIndex.load(path, verify=True)
    assert np.array_equal(index.reconstruct(np.arange(1000)), codes(1000))
    assert len(list(tmp_path.iterdir())) == 2
    built(7).save(path)
    assert len(HammingIndex.load(path, verify=True)) == 7


def test_a_full_disk_leaves_the_old_index_and_says_so(tmp_path):
    """A limit on the size of a file stands in for a disk without room."""
    path = tmp_path / "index"
    built(1000).save(path)
    before = path.read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
    try:
        with pytest.raises(OSError, match="could not write .*index: .*; an existing file is unch"):
            built(50_000, seed=1).save(path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert path.read_bytes() == before and [p.name for p in tmp_path.iterdir()] == ["index"]
    built(50_000, seed=1).save(path)
    assert len(HammingIndex.load(path, verify=True)) == 50_000


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full")
def test_no_space_left_on_the_device_is_a_sentence(tmp_path, monkeypatch):
    """The kernel's own ENOSPC, met where the bytes go out."""
    path = tmp_path / "index"
    built(1000).save(path)
    make = os.fdopen
    full = os.open("/dev/full", os.O_WRONLY)
    monkeypatch.setattr(
        os, "fdopen", lambda fd, *rest, **named: (os.close(fd), make(full, "wb"))[1]
    )
    with pytest.raises(OSError, match="the disk is full"):
        built(50_000, seed=1).save(path)
    monkeypatch.undo()
    assert len(HammingIndex.load(path, verify=True)) == 1000
    assert [p.name for p in tmp_path.iterdir()] == ["index"]
