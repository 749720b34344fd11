"""What is made under `torch.inference_mode()` can be used outside of it, and the reverse."""

import copy
import pickle
from contextlib import nullcontext

import numpy as np
import pytest
import torch
from children import BITS, codes

from semicon_fast.search import HammingIndex, ShardedHammingIndex
from semicon_fast.search.gallery import Gallery

MODES = {"inside": torch.inference_mode, "outside": nullcontext}
ORDERS = pytest.mark.parametrize("first, then", [("inside", "outside"), ("outside", "inside")])


def plain():
    return HammingIndex(BITS, bit_groups={"a": [0, 20], "b": [20, BITS]})


def sharded():
    return ShardedHammingIndex(BITS, ["cpu", "cpu"])


@ORDERS
@pytest.mark.parametrize("make", [plain, sharded])
@pytest.mark.parametrize("ids", [False, True], ids=["numbered", "named"])
def test_an_index_filled_in_one_mode_is_changed_in_the_other(first, then, make, ids):
    index, numbers = make(), torch.arange(100) * 2
    for start in range(0, 80, 8):
        with MODES[first if start % 16 else then]():
            added = torch.from_numpy(codes(100)[start : start + 8]).clone()
            index.add(added, numbers[start : start + 8].clone() if ids else None)
    with MODES[first]():
        index.search(torch.from_numpy(codes(2)), 3)
        index.remove_ids([10])
    with MODES[then]():
        index.add(codes(100)[80:], numbers[80:] if ids else None)
        other = pickle.loads(pickle.dumps(copy.deepcopy(index)))
    other.add(codes(1))
    kept = np.delete(np.arange(100), 5 if ids else 10)
    assert np.array_equal(index.ids(), kept * 2 if ids else kept)
    assert np.array_equal(index.reconstruct(index.ids()), codes(100)[kept])
    assert len(other) == 100


@ORDERS
def test_reserved_room_is_filled_in_the_other_mode(first, then):
    index = plain()
    with MODES[first]():
        index.reserve(100)
    with MODES[then]():
        index.add(codes(60))
    with MODES[first]():
        index.add(codes(40))
    assert np.array_equal(index.reconstruct(np.arange(60)), codes(60))


@ORDERS
@pytest.mark.parametrize("kind", ["plain", "sharded", "streamed"])
def test_a_ranking_is_written_to_tensors_of_the_other_mode(first, then, kind):
    index = sharded() if kind == "sharded" else plain()
    index.add(codes(30))
    searched = index.streamed("cpu", 64) if kind == "streamed" else index
    queries = torch.from_numpy(codes(3, seed=1))
    with MODES[first]():
        out = torch.zeros(3, 30, dtype=torch.int32), torch.zeros(3, 30, dtype=torch.int64)
    with MODES[then]():
        result = searched.rank(queries, out=out)
    assert result is out
    for found, want in zip(out, searched.rank(queries), strict=True):
        assert torch.equal(found, want)


@ORDERS
def test_a_gallery_and_weights_serve_in_the_other_mode(first, then):
    queries = torch.from_numpy(codes(2, seed=1))
    with MODES[first]():
        index = Gallery(codes(30), BITS, ["x"] * 30).build_index()
        want = index.search(queries, 4, weights={"global": 2})
    with MODES[then]():
        found = index.search(queries, 4, weights={"global": 2})
        index.add(codes(1))
    assert all(torch.equal(one, other) for one, other in zip(found, want, strict=True))
