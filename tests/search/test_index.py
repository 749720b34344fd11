"""HammingIndex against sorting every (distance, id)."""

import copy
from pickle import dumps, loads

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from semicon_fast.search import HammingIndex, ShardedHammingIndex, pack_codes

BITS = 11


def codes(rows, bits=BITS, seed=0):
    return pack_codes(np.random.default_rng(seed).standard_normal((rows, bits)))


def expected(queries, database, ids):
    """(distance, id) of everything, ascending, for each query."""
    bits = np.unpackbits(queries[:, None] ^ database[None], axis=2).sum(2)
    return [sorted(zip(row.tolist(), list(ids), strict=True)) for row in bits]


def pairs(distances, ids):
    return [
        list(zip(d, i, strict=True)) for d, i in zip(distances.tolist(), ids.tolist(), strict=True)
    ]


@settings(derandomize=True, max_examples=30, deadline=None)
@given(st.integers(0, 40), st.integers(0, 4), st.integers(1, 50), st.integers(0, 3))
def test_search_is_ascending_by_distance_and_id_and_padded(count, queries, k, seed):
    ids = np.random.default_rng(seed).permutation(1000)[:count]
    database, asked = codes(count, 4, seed), codes(queries, 4, seed + 9)
    index = HammingIndex(4)
    for part in np.array_split(np.arange(count), 3):
        index.add(database[part], ids[part])
    distances, found = index.search(asked, k)
    assert distances.dtype == np.int32 and found.dtype == np.int64
    missing = [(2**31 - 1, -1)] * max(0, k - count)
    wanted = [row[:k] + missing for row in expected(asked, database, ids)]
    assert pairs(distances, found) == wanted


@settings(derandomize=True, max_examples=20, deadline=None)
@given(st.integers(0, 30), st.integers(0, 12))
def test_range_search_holds_its_radius_and_rank_holds_everything(count, radius):
    ids = np.arange(count)[::-1] * 3
    database, asked = codes(count), codes(3, seed=1)
    index = HammingIndex(BITS)
    index.add(database, ids)
    wanted = expected(asked, database, ids)
    lims, distances, found = index.range_search(asked, radius)
    for row, (start, stop) in enumerate(zip(lims[:-1], lims[1:], strict=True)):
        got = list(zip(distances[start:stop].tolist(), found[start:stop].tolist(), strict=True))
        assert got == [p for p in wanted[row] if p[0] <= radius]
    assert pairs(*index.rank(asked)) == wanted


def test_subset_searches_only_its_ids_each_once():
    index = HammingIndex(BITS)
    index.add(codes(30), np.arange(30) * 2)
    subset = [8, 2, 40, 8]
    distances, ids = index.search(codes(3, seed=1), 5, subset=subset)
    chosen = np.array([2, 8, 40])
    wanted = expected(codes(3, seed=1), codes(30)[chosen // 2], chosen)
    assert pairs(distances, ids) == [row + [(2**31 - 1, -1)] * 2 for row in wanted]
    assert (index.search(codes(1), 2, subset=np.empty(0, np.int64))[1] == -1).all()


@pytest.mark.parametrize(
    "make", [HammingIndex, lambda bits: ShardedHammingIndex(bits, ["cpu", "cpu"])]
)
def test_zeros_and_ones_are_no_ids(make):
    """As ids, a mask of 0 and 1 would search or remove codes 0 and 1, whatever it marks."""
    index = make(BITS)
    index.add(codes(4))
    for mask in ([0, 1, 1, 0], np.array([0, 1, 1, 0]), torch.tensor([0, 0, 0, 1])):
        with pytest.raises(ValueError, match="subset must be ids, or a mask of bool, got a mask"):
            index.search(codes(1), 2, subset=mask)
        with pytest.raises(ValueError, match=r"index.ids\(\)\[mask\]\), got a mask of 4 integers"):
            index.remove_ids(mask)
    assert len(index) == 4
    found = index.search(codes(1), 2, subset=[0, 1, 1])[1]
    assert sorted(found[0].tolist()) == [0, 1]
    assert index.remove_ids(index.ids()[np.array([False, True, True, False])]) == 2
    assert index.ids().tolist() == [0, 3]
    assert sorted(index.search(codes(1), 2, subset=[0, 3])[1][0].tolist()) == [0, 3]


@pytest.mark.parametrize("ids", [None, np.arange(30)[::-1] * 2], ids=["numbered", "named"])
@pytest.mark.parametrize("kind", ["ids", "mask", "tensor mask", "list"])
def test_every_kind_of_search_takes_a_subset_by_ids_or_by_mask(ids, kind):
    index = HammingIndex(BITS)
    index.add(codes(30), ids)
    numbers, content = index.ids(), index.reconstruct(index.ids())
    mask = np.arange(30) % 3 == 1
    subset = {
        "ids": numbers[mask][::-1],
        "mask": mask,
        "tensor mask": torch.from_numpy(mask),
        "list": mask.tolist(),
    }[kind]
    asked = codes(4, seed=1)
    wanted = expected(asked, content[mask], numbers[mask])
    assert pairs(*index.search(asked, 4, subset=subset)) == [row[:4] for row in wanted]
    assert pairs(*index.rank(asked, subset=subset)) == wanted
    lims, distances, found = index.range_search(asked, 5, subset=subset)
    inside = [[p for p in row if p[0] <= 5] for row in wanted]
    assert np.diff(lims).tolist() == [len(row) for row in inside]
    got = list(zip(distances.tolist(), found.tolist(), strict=True))
    assert got == [p for row in inside for p in row]


def test_empty_subsets_find_nothing():
    index = HammingIndex(BITS)
    index.add(codes(30))
    for subset in ([], np.zeros(30, bool)):
        assert (index.search(codes(2), 2, subset=subset)[1] == -1).all()
        assert index.rank(codes(2), subset=subset)[0].shape == (2, 0)
        assert index.range_search(codes(2), 11, subset=subset)[0].tolist() == [0, 0, 0]


@pytest.mark.parametrize("ids", [None, [9, 4, 70]], ids=["numbered", "named"])
@pytest.mark.parametrize("made", [copy.copy, copy.deepcopy, lambda i: loads(dumps(i))])
def test_copies_are_independent(made, ids):
    index = HammingIndex(BITS)
    index.reserve(50)
    index.add(codes(3), ids)
    other = made(index)
    other.add(codes(1, seed=2))
    index.add(codes(1, seed=3))
    assert other.ids().tolist() == index.ids().tolist()
    assert np.array_equal(other.reconstruct(other.ids()[-1:]), codes(1, seed=2))
    assert np.array_equal(index.reconstruct(index.ids()[-1:]), codes(1, seed=3))


@pytest.mark.parametrize("ids", [None, np.arange(100) * 2], ids=["numbered", "named"])
def test_reserved_room_is_filled_in_place_and_changes_nothing(ids):
    index = HammingIndex(BITS)
    index.add(codes(10), None if ids is None else ids[:10])
    index.reserve(100)
    assert len(index) == 10
    place = index._store.codes.data_ptr()
    for start in range(10, 100, 10):
        index.add(codes(10, seed=start), None if ids is None else ids[start : start + 10])
    assert index._store.codes.data_ptr() == place and len(index) == 100
    index.reserve(3)
    assert np.array_equal(index.reconstruct(index.ids()[:10]), codes(10))
    with pytest.raises(MemoryError, match="count must fit into memory, got"):
        index.reserve(2**60)
    assert len(index) == 100


def test_tensors_give_tensors_and_arrays_give_arrays():
    index = HammingIndex(BITS)
    index.add(torch.from_numpy(codes(20)))
    asked = codes(3, seed=1)
    arrays = (*index.search(asked, 4), *index.range_search(asked, 4), *index.rank(asked))
    asked = torch.from_numpy(asked)
    tensors = (*index.search(asked, 4), *index.range_search(asked, 4), *index.rank(asked))
    assert all(isinstance(a, np.ndarray) for a in arrays)
    assert all(np.array_equal(a, t.numpy()) for a, t in zip(arrays, tensors, strict=True))


def test_removed_ids_are_gone_and_the_others_stay():
    index = HammingIndex(BITS)
    index.add(codes(10))
    assert index.remove_ids([3, 9, 3]) == 2
    assert len(index) == 8 and index.ids().tolist() == [0, 1, 2, 4, 5, 6, 7, 8]
    assert np.array_equal(index.reconstruct(np.array([8, 4])), codes(10)[[8, 4]])
    index.add(codes(2, seed=5))
    assert index.ids()[-2:].tolist() == [10, 11]


def test_numbering_goes_on_from_the_largest_id():
    index = HammingIndex(BITS)
    index.add(codes(2), ids=[7, 5])
    index.add(codes(1))
    index.add(codes(1), ids=[6])
    assert index.ids().tolist() == [5, 6, 7, 8]


def test_many_small_additions_equal_one():
    whole, grown = HammingIndex(BITS), HammingIndex(BITS)
    whole.add(codes(57))
    for row in codes(57):
        grown.add(row[None])
    asked = codes(4, seed=1)
    assert pairs(*whole.rank(asked)) == pairs(*grown.rank(asked))


def test_reconstruct_gives_the_kind_of_its_ids():
    index = HammingIndex(BITS)
    index.add(codes(5))
    assert np.array_equal(index.reconstruct([4, 0]), codes(5)[[4, 0]])
    assert torch.equal(index.reconstruct(torch.tensor([1])), torch.from_numpy(codes(5)[[1]]))


def test_merge_takes_every_code_under_its_id():
    first, second = HammingIndex(BITS), HammingIndex(BITS)
    first.add(codes(4), ids=[0, 2, 4, 6])
    second.add(codes(3, seed=1), ids=[5, 1, 9])
    first.merge(second)
    assert first.ids().tolist() == [0, 1, 2, 4, 5, 6, 9] and len(second) == 3
    assert np.array_equal(first.reconstruct([5, 1, 9]), codes(3, seed=1))


def test_what_was_added_is_a_copy():
    given_codes = codes(4)
    index = HammingIndex(BITS)
    index.add(given_codes)
    given_codes[:] = 0
    assert np.array_equal(index.reconstruct(np.arange(4)), codes(4))


def test_index_says_what_it_is():
    index = HammingIndex(12)
    index.add(codes(3, 12))
    assert repr(index) == "HammingIndex(bits=12, device='cpu', codes=3)"
    assert (index.bits, len(index), index.device) == (12, 3, torch.device("cpu"))


@pytest.mark.parametrize(
    "call, error, words",
    [
        (lambda i: i.add(codes(2, 20)), ValueError, r"codes must be \(N, 2\) for 11 bits"),
        (lambda i: i.add(codes(2) | 255), ValueError, "0 in the 5 unused bits"),
        (lambda i: i.add(codes(2).astype(int)), TypeError, "codes must be packed uint8"),
        (lambda i: i.add(codes(2), [7]), ValueError, "one for each of the 2 codes, got 1"),
        (lambda i: i.add(codes(2), [7, 7]), ValueError, "ids must be unique, got 7 more than once"),
        (lambda i: i.add(codes(2), [9, 2]), ValueError, "ids must be new, but 2 is in the index"),
        (lambda i: i.add(codes(2), [-1, 9]), ValueError, r"ids must be from 0 to 2\*\*63 - 2"),
        (lambda i: i.add(codes(1), [2**63 - 1]), ValueError, r"ids must be from 0 to 2\*\*63 - 2"),
        (lambda i: i.add(codes(2), [0.5, 9.0]), TypeError, "ids must be integers, got torch.float"),
        (lambda i: i.add(codes(1), [[9]]), ValueError, r"ids must be \(n,\), got \(1, 1\)"),
        (lambda i: i.search(codes(2, 20), 1), ValueError, r"queries must be \(N, 2\)"),
        (
            lambda i: i.search(codes(2), 0),
            ValueError,
            "k must be an integer from 1 to 16777216, got 0",
        ),
        (lambda i: i.search(codes(2), 1.5), TypeError, "k must be an integer from 1 to .* got 1.5"),
        (lambda i: i.search(codes(2), 1, subset=[0, 5]), ValueError, "subset must be in the index"),
        (lambda i: i.range_search(codes(2), -1), ValueError, "radius must be an integer >= 0"),
        (lambda i: i.remove_ids([0, 12, 13]), ValueError, "2 of 3 are not, the first is 12"),
        (lambda i: i.reconstruct([4]), ValueError, "ids must be in the index; 1 of 1 are not"),
        (lambda i: i.merge(i), ValueError, "merge: other's ids must be new"),
        (lambda i: i.merge(HammingIndex(12)), ValueError, "other must have 11 bits, got 12"),
        (lambda i: i.merge(codes(2)), TypeError, "other must be a HammingIndex, got ndarray"),
    ],
)
def test_bad_input_is_a_sentence_and_changes_nothing(call, error, words):
    index = HammingIndex(BITS)
    index.add(codes(4))
    before = pairs(*index.rank(codes(3, seed=1)))
    with pytest.raises(error, match=words):
        call(index)
    assert pairs(*index.rank(codes(3, seed=1))) == before and index.ids().tolist() == [0, 1, 2, 3]
    index.add(codes(1))
    assert index.ids()[-1] == 4


def test_numbering_past_the_largest_id_is_refused():
    index = HammingIndex(BITS)
    index.add(codes(1), ids=[2**63 - 2])
    with pytest.raises(ValueError, match="ids must be given"):
        index.add(codes(1))


@pytest.mark.parametrize("bits", [0, 4097])
def test_lengths_outside_1_to_4096_are_refused(bits):
    with pytest.raises(ValueError, match=f"bits must be an integer from 1 to 4096, got {bits}"):
        HammingIndex(bits)


@pytest.mark.parametrize("bits", [1, 4096])
def test_shortest_and_longest_codes_are_found(bits):
    index = HammingIndex(bits)
    database = codes(3, bits) if bits > 1 else np.array([[0], [1]], np.uint8)
    index.add(database)
    distances, ids = index.search(database, 1)
    assert (distances == 0).all() and ids[:, 0].tolist() == list(range(len(database)))


@pytest.mark.parametrize("ids", [None, [7, 3, 12]])
def test_a_ranking_into_given_arrays_is_the_same(ids):
    index = HammingIndex(16)
    index.add(np.array([[1, 2], [3, 4], [5, 6]], np.uint8), ids)
    queries = np.array([[1, 3], [9, 9]], np.uint8)
    wanted = index.rank(queries)
    out = np.empty((2, 3), np.int32), np.empty((2, 3), np.int64)
    assert index.rank(queries, out=out) is out
    assert all(map(np.array_equal, out, wanted))
    tensors = torch.empty(2, 3, dtype=torch.int32), torch.empty(2, 3, dtype=torch.int64)
    index.rank(torch.from_numpy(queries), out=tensors)
    assert all(np.array_equal(a, b) for a, b in zip(tensors, wanted, strict=True))


def test_arrays_that_cannot_be_ranked_into_are_refused():
    index = HammingIndex(16)
    index.add(np.zeros((3, 2), np.uint8))
    frozen = np.empty((1, 3), np.int32)
    frozen.flags.writeable = False
    with pytest.raises(TypeError, match="contiguous and writable"):
        index.rank(np.zeros((1, 2), np.uint8), out=(frozen, np.empty((1, 3), np.int64)))
