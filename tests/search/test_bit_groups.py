"""Distances by part, and searches by weighted parts or one part, against loops over the bits."""

import math
import pickle
from fractions import Fraction

import numpy as np
import pytest
import torch

from semicon_fast.search import HammingIndex, pack_codes, part_distances, select_bits
from semicon_fast.search.gallery import Gallery, open_index

GROUPS = {"global": slice(0, 17), "part1": slice(17, 22), "part2": slice(22, 27)}
GROUPS["part3"] = slice(27, 32)
BITS, FAR = 32, 2**31 - 1


def bits_of(rows, seed, width=BITS):
    """Near a few prototypes, so that many distances tie."""
    rng = np.random.default_rng(seed)
    centres = rng.random((5, width)) < 0.5
    return centres[rng.integers(0, 5, rows)] ^ (rng.random((rows, width)) < 0.08)


@pytest.fixture(scope="module")
def case():
    stored, asked = bits_of(700, 0), bits_of(9, 1)
    index = HammingIndex(BITS, bit_groups=GROUPS)
    ids = np.random.default_rng(2).permutation(5000)[:700]
    index.add(pack_codes(stored), ids)
    order = ids.argsort()
    return index, stored[order], ids[order], asked


def brute(case, weights, chosen=slice(None), most=None):
    """[(weighted distance, id), ...] of each query, ascending: integer sums over a denominator."""
    _, stored, ids, asked = case
    exact = {name: Fraction(str(value)) for name, value in weights.items()}
    whole = math.lcm(*(value.denominator for value in exact.values()))
    result = []
    for query in asked:
        differing = stored[chosen] ^ query
        sums = sum(int(w * whole) * differing[:, GROUPS[n]].sum(1) for n, w in exact.items())
        order = np.lexsort((ids[chosen], sums))[:most]
        found = zip(sums[order].tolist(), ids[chosen][order].tolist(), strict=True)
        result.append([(float(Fraction(total, whole)), i) for total, i in found])
    return result


def test_parts_of_every_pair_sum_to_its_distance(case):
    index, stored, _, asked = case
    near, ids, parts = index.search(pack_codes(asked), len(index), by_part=True)
    assert parts.dtype == np.int32 and parts.shape == (9, 700, 4)
    assert np.array_equal(parts.sum(2), near)
    place = np.searchsorted(index.ids(), ids)
    for part, group in enumerate(GROUPS.values()):
        wanted = (stored[place][..., group] != asked[:, None, group]).sum(2)
        assert np.array_equal(parts[..., part], wanted)
    plain = index.search(pack_codes(asked), len(index))
    assert np.array_equal(plain[0], near) and np.array_equal(plain[1], ids)


@pytest.mark.parametrize("k", [1, 10, 700])
@pytest.mark.parametrize("name", GROUPS)
def test_one_part_is_the_search_among_the_sliced_codes(case, name, k):
    index, stored, ids, asked = case
    near, found = index.search(pack_codes(asked), k, weights={name: 1})
    group = range(BITS)[GROUPS[name]]
    sliced = HammingIndex(len(group))
    sliced.add(pack_codes(stored[:, group]), ids)
    wanted = sliced.search(pack_codes(asked[:, group]), k)
    assert near.dtype == np.int32
    assert np.array_equal(near, wanted[0]) and np.array_equal(found, wanted[1])
    for row, expected in enumerate(brute(case, {name: 1}, most=k)):
        assert list(zip(near[row].tolist(), found[row].tolist(), strict=True)) == expected


WEIGHTS = [
    {"global": 1, "part1": 3},
    {"part2": 2, "part3": 2},
    {"global": 0, "part1": 4, "part3": 6},
    {"global": 0.5, "part1": 1, "part2": 2.0, "part3": 0},
    {"global": 0.1, "part1": 0.2, "part2": 0.3},
    {"global": np.float32(0.3), "part1": np.int64(1)},
    {"global": 1, "part1": 1000, "part2": 7},
    {"global": 0.37281938, "part1": 1.118, "part3": 0.00021},
    {"global": 1e-9, "part1": 1.0},
]


@pytest.mark.parametrize("k", [1, 40, 700])
@pytest.mark.parametrize("weights", WEIGHTS, ids=str)
def test_weighted_search_is_exact_with_ties_by_id(case, weights, k):
    index, _, _, asked = case
    near, found, parts = index.search(pack_codes(asked), k, weights=weights, by_part=True)
    whole = all(isinstance(value, (int, np.integer)) for value in weights.values())
    assert near.dtype == (np.int32 if whole else np.float64)
    for row, wanted in enumerate(brute(case, weights, most=k)):
        # Distances are the nearest float64 to the exact sums, as Python's division gives them.
        assert list(zip(near[row].tolist(), found[row].tolist(), strict=True)) == wanted
    _, all_ids, all_parts = index.search(pack_codes(asked), 700, by_part=True)
    for q in range(9):
        by_id = dict(zip(all_ids[q].tolist(), all_parts[q].tolist(), strict=True))
        assert parts[q].tolist() == [by_id[i] for i in found[q].tolist()]


def test_small_and_large_weights_take_two_ways_to_one_answer(case):
    """Repeated bits and sums of parts: the same weights times a large factor and a bit more."""
    index, _, _, asked = case
    few = index.search(pack_codes(asked), 700, weights={"global": 1, "part1": 2})
    many = index.search(pack_codes(asked), 700, weights={"global": 1, "part1": 2, "part2": 1e-6})
    assert (np.abs(few[0] - many[0]) < 1e-5).all() and not np.array_equal(few[1], many[1])


def test_subsets_tensors_and_more_than_there_are(case):
    index, _, ids, asked = case
    mask = np.arange(700) % 3 == 0
    queries = torch.from_numpy(pack_codes(asked))
    near, found, parts = index.search(
        queries, 300, subset=mask, weights={"part1": 0.5}, by_part=True
    )
    assert all(isinstance(x, torch.Tensor) for x in (near, found, parts))
    count = int(mask.sum())
    for row, wanted in enumerate(brute(case, {"part1": 0.5}, mask)):
        assert found[row, :count].tolist() == [i for _, i in wanted]
    assert (near[:, count:] == torch.inf).all() and (found[:, count:] == -1).all()
    assert (parts[:, count:] == -1).all() and (parts[:, :count] >= 0).all()
    near, _ = index.search(queries, 701, weights={"part1": 2})
    assert (near[:, -1] == FAR).all() and near.dtype == torch.int32


def test_what_was_kept_is_made_anew_after_a_change():
    index = HammingIndex(BITS, bit_groups=GROUPS)
    index.add(pack_codes(bits_of(50, 3)))
    query = pack_codes(bits_of(1, 4))
    before = index.search(query, 5, weights={"part1": 1})
    index.add(query)
    after = index.search(query, 5, weights={"part1": 1})
    assert after[0][0, 0] == 0 and 50 in after[1]
    index.remove_ids([50])
    again = index.search(query, 5, weights={"part1": 1})
    assert all(np.array_equal(a, b) for a, b in zip(before, again, strict=True))


def test_an_empty_index_and_no_queries():
    index = HammingIndex(BITS, bit_groups=GROUPS)
    near, ids, parts = index.search(
        pack_codes(bits_of(2, 0)), 3, weights={"part1": 1}, by_part=True
    )
    assert (near == FAR).all() and (ids == -1).all() and (parts == -1).all()
    near, ids, parts = index.search(pack_codes(bits_of(0, 0)), 3, weights={"global": 0.123456789},
                                    by_part=True)  # fmt: skip
    assert near.shape == (0, 3) and parts.shape == (0, 3, 4)


def test_a_gallery_and_a_pickle_keep_the_parts(case, tmp_path):
    index = case[0]
    assert pickle.loads(pickle.dumps(index)).bit_groups == GROUPS
    info = {"bit_groups": {n: [g.start, g.stop] for n, g in GROUPS.items()}}
    codes = pack_codes(bits_of(20, 5))
    Gallery(codes, BITS, [str(i) for i in range(20)], info=info).save(tmp_path / "g")
    opened = Gallery.open(tmp_path / "g")
    wanted = opened.build_index().search(codes, 3, by_part=True)
    opened.build_index().save(tmp_path / "g" / "index.hamming")
    found = open_index(tmp_path / "g", opened).search(codes, 3, by_part=True)
    assert all(np.array_equal(a, b) for a, b in zip(found, wanted, strict=True))
    plain = Gallery(codes, BITS, [str(i) for i in range(20)]).build_index()
    assert plain.search(codes, 3, by_part=True)[2].shape == (20, 3, 1)


def test_distances_by_part_of_rows():
    a, b = (pack_codes(bits_of(6, seed)) for seed in (0, 1))
    parts = part_distances(a, b, BITS, GROUPS)
    whole = part_distances(a, b, BITS, {"all": slice(0, BITS)})
    assert parts.shape == (6, 4) and np.array_equal(parts.sum(1, keepdims=True), whole)
    assert np.array_equal(part_distances(a, b[:1], BITS, GROUPS)[0], parts[0])
    one = part_distances(*(select_bits(x, BITS, range(17, 22)) for x in (a, b)), 5, {"p": [0, 5]})
    assert np.array_equal(parts[:, 1:2], one)
    with pytest.raises(ValueError, match="equally many codes, or one, got 6 and 2"):
        part_distances(a, b[:2], BITS, GROUPS)


@pytest.mark.parametrize(
    "groups, error, words",
    [
        ({"a": slice(0, 31)}, ValueError, "must cover all 32 bits, but bit 31 is in no group"),
        ({"a": slice(0, 20), "b": slice(10, 32)}, ValueError, "disjoint"),
        ({"a": slice(0, 33)}, ValueError, "disjoint, non-empty slices of 32 bits"),
        ({"a": [0, 1.5]}, TypeError, "must map names to slices"),
        ({}, ValueError, "at least one group"),
        ([slice(0, 32)], TypeError, "must map names to slices, got list"),
    ],
)
def test_wrong_groups_are_one_sentence(groups, error, words):
    with pytest.raises(error, match=words):
        HammingIndex(BITS, bit_groups=groups)
    index = HammingIndex(BITS, bit_groups=GROUPS)
    with pytest.raises(error, match=words):
        index.bit_groups = groups
    assert index.bit_groups == GROUPS


@pytest.mark.parametrize(
    "weights, error, words",
    [
        ({"head": 1}, ValueError, "name parts among global, part1, part2, part3, got 'head'"),
        ({"part1": -1}, ValueError, "0, or from 1e-30 to 1e30, got -1 for 'part1'"),
        ({"part1": float("nan")}, ValueError, "got nan"),
        ({"part1": float("inf")}, ValueError, "got inf"),
        ({"part1": "1"}, TypeError, "numbers >= 0, got '1' for 'part1'"),
        ({"part1": True}, TypeError, "numbers >= 0"),
        ({"part1": 0, "part2": 0.0}, ValueError, "larger than 0, got none"),
        ({}, ValueError, "larger than 0, got none"),
        ([1, 2, 3, 4], TypeError, "must map names"),
        ({"part1": 2**29}, ValueError, r"below 2\*\*31 - 1"),
        ({"part1": 1e-20, "part2": 1.0}, ValueError, "fewer digits"),
    ],
)
def test_wrong_weights_are_one_sentence(case, weights, error, words):
    with pytest.raises(error, match=words):
        case[0].search(pack_codes(case[3]), 3, weights=weights)


def test_without_groups_there_are_no_parts():
    index = HammingIndex(BITS)
    index.add(pack_codes(bits_of(3, 0)))
    for options in ({"by_part": True}, {"weights": {"part1": 1}}):
        with pytest.raises(ValueError, match=r"needs bit_groups: HammingIndex\(bits, bit_groups="):
            index.search(pack_codes(bits_of(1, 0)), 2, **options)


def test_blocks_change_nothing(case, monkeypatch):
    index, _, _, asked = case
    weights = {"global": 0.37281938, "part1": 1.118}
    options = [{"weights": weights}, {"by_part": True}, {"weights": {"part1": 2}, "by_part": True}]
    whole = [index.search(pack_codes(asked), 3, **option) for option in options]
    monkeypatch.setattr("semicon_fast.search._weighted._PAIRS", 100)
    monkeypatch.setattr("semicon_fast.search._weighted._QUERIES", 4)
    monkeypatch.setattr("semicon_fast.search.bit_groups._PAIRS", 7)
    for option, wanted in zip(options, whole, strict=True):
        found = index.search(pack_codes(asked), 3, **option)
        assert all(np.array_equal(a, b) for a, b in zip(found, wanted, strict=True))
