"""More than 2**31 bytes of codes: right answers, and no second copy in memory."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[2]

# Prints the size of the codes, and by how much the process grew at most while it added and searched
# them, beside what it needs for any search.
SEARCH = """
import json, sys
import numpy as np
import semicon_fast as sf

def memory(key):
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) * 1024 for line in file if line.startswith(key))

count, width, k, target = int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
step = (1 << 25) // width
rng = np.random.default_rng(1)
small = sf.HammingIndex(8 * width)
small.add(rng.integers(0, 256, (50_000, width), dtype=np.uint8))
small.search(small.reconstruct(np.arange(20)), k)
queries = rng.integers(0, 256, (20, width), dtype=np.uint8)
before = memory("VmRSS")
index = sf.HammingIndex(8 * width)
index.reserve(count)
for start in range(0, count, step):
    rng = np.random.default_rng(start)
    codes = rng.integers(0, 256, (min(step, count - start), width), dtype=np.uint8)
    codes[-1] = queries[start // step % 20] ^ (rng.random(width) < 0.02)
    index.add(codes)
distances, ids = index.search(queries, k)
lims, near, found = index.range_search(queries, width)
np.savez(target, queries=queries, distances=distances, ids=ids, lims=lims, near=near, found=found)
print(json.dumps({"codes": count * width, "grown": memory("VmHWM") - before}))
"""

ONES = np.array([bin(i).count("1") for i in range(1 << 16)], np.uint8)


def pieces(count, width, queries):
    """(position, codes) as the search had them."""
    step = (1 << 25) // width
    for start in range(0, count, step):
        rng = np.random.default_rng(start)
        codes = rng.integers(0, 256, (min(step, count - start), width), dtype=np.uint8)
        codes[-1] = queries[start // step % 20] ^ (rng.random(width) < 0.02)
        yield start, codes


def nearest(count, width, queries, checked, k):
    """(distance, position) of the k nearest of the first queries, by look-up in a table."""
    best = [np.empty(0, np.int64) for _ in range(checked)]
    for start, codes in pieces(count, width, queries):
        words = codes.view(np.uint16)
        for q, query in enumerate(queries[:checked]):
            near = ONES[words ^ query.view(np.uint16)].sum(1, dtype=np.int64)
            limit = np.partition(near, k)[k]
            few = (near <= limit).nonzero()[0]
            keys = np.concatenate([best[q], near[few] << 40 | (few + start)])
            best[q] = np.sort(keys)[:k]
    best = np.stack(best)
    return best >> 40, best & (1 << 40) - 1


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="needs /proc")
@pytest.mark.parametrize("count, width", [(300_000_000, 8), (4_400_000, 512)])
def test_more_than_two_gigabytes_are_searched_without_a_copy(tmp_path, count, width):
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, "-c", SEARCH, str(count), str(width), "100", str(tmp_path / "found.npz")],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    figures = json.loads(done.stdout.splitlines()[-1])
    assert figures["codes"] > 2**31
    assert figures["grown"] <= 1.1 * figures["codes"], figures
    found = np.load(tmp_path / "found.npz")
    # Four queries of the twenty: the check takes longer than the search.
    distances, ids = nearest(count, width, found["queries"], 4, 100)
    assert np.array_equal(found["distances"][:4], distances)
    assert np.array_equal(found["ids"][:4], ids)
    assert (ids * width > 2**31).any()
    for q in range(4):
        inside = found["lims"][q], found["lims"][q + 1]
        reached = distances[q] <= width
        assert inside[1] - inside[0] >= reached.sum() > 0
        assert np.array_equal(found["found"][slice(*inside)][: reached.sum()], ids[q][reached])
    print(f"{figures['grown'] / figures['codes']:.3f} of the codes' {figures['codes']} bytes")
