"""Pairs within a radius and their groups, against comparing everything with everything."""

import numpy as np
import pytest
import torch
from generated_searches import QUIET, drawn, numbers
from hypothesis import given, settings
from hypothesis import strategies as st

from semicon_fast.ops import tables as ops
from semicon_fast.reference import tables as reference
from semicon_fast.search import (
    HammingIndex,
    MultiIndex,
    duplicates,
    groups_within,
    pack_codes,
    pairs_within,
)


@st.composite
def cases(draw):
    bits = draw(st.one_of(st.integers(1, 140), st.sampled_from([8, 16, 32, 48, 64, 128, 1024])))
    return {
        "bits": bits,
        "count": draw(st.one_of(st.integers(0, 10), st.integers(0, 400), st.just(700))),
        "distinct": draw(st.sampled_from([0, 0, 1, 5, 100])),
        "flips": draw(st.integers(0, 4)),
        "ids": draw(st.sampled_from(["numbered", "gaps", "shuffled"])),
        "radius": draw(st.one_of(st.integers(0, 6), st.integers(0, bits + 1))),
        "threads": draw(st.integers(1, 3)),
        # What a table seems to cost, so that small cases are joined by tables too.
        "copied": draw(st.sampled_from([0, 0.01, 30])),
        "seed": draw(st.integers(0, 2**31)),
    }


def check(case, monkeypatch):
    monkeypatch.setattr(duplicates, "_COPIED", case["copied"])
    torch.set_num_threads(case["threads"])
    rng = np.random.default_rng(case["seed"])
    codes = drawn(rng, case["count"], case["bits"], case["distinct"])
    bits = np.unpackbits(codes, axis=1, bitorder="little")[:, : case["bits"]]
    for _ in range(case["flips"]):
        place = rng.integers(0, case["bits"], len(bits))
        bits[np.arange(len(bits)), place] ^= rng.integers(0, 2, len(bits), dtype=np.uint8)
    codes = np.packbits(bits, axis=1, bitorder="little")
    index = HammingIndex(case["bits"])
    index.add(codes, numbers(rng, len(codes), case["ids"]))
    ids, held = index.ids(), torch.from_numpy(index.reconstruct(index.ids()))
    first, second, distances = reference.close_pairs(held, case["radius"])
    most = len(first)
    found = pairs_within(index, case["radius"], most=most)
    assert found.ids.dtype == np.int64 and found.distances.dtype == np.int32
    assert np.array_equal(found.ids, ids[np.stack([first, second], 1)].reshape(-1, 2))
    assert np.array_equal(found.distances, distances)
    if most:
        with pytest.raises(ValueError, match=f"most must be at least .*, got {most - 1}; groups"):
            pairs_within(index, case["radius"], most=most - 1)
    roots = reference.connected(first, second, len(held)).numpy()
    wanted = [ids[roots == root].tolist() for root in np.unique(roots)]
    groups = groups_within(index, case["radius"])
    assert groups.lims.dtype == groups.ids.dtype == np.int64
    split = np.split(groups.ids, groups.lims[1:-1]) if len(groups.lims) > 1 else []
    assert [g.tolist() for g in split] == [g for g in wanted if len(g) > 1]


@pytest.fixture(autouse=True)
def _threads():
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@settings(max_examples=60, **QUIET)
@given(case=cases())
def test_pairs_and_groups_are_those_of_comparing_everything(monkeypatch, case):
    check(case, monkeypatch)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@settings(max_examples=3000, **QUIET)
@given(case=cases())
def test_thousands_of_pairs_and_groups(monkeypatch, case):
    check(case, monkeypatch)


def test_the_same_without_native_kernels(monkeypatch):
    monkeypatch.setattr(ops, "_kernels", lambda: None)
    case = {"bits": 12, "count": 200, "distinct": 0, "flips": 1, "ids": "gaps", "radius": 2,
            "threads": 1, "copied": 30, "seed": 1}  # fmt: skip
    check(case, monkeypatch)


@pytest.mark.parametrize("radius, parts", [(0, 1), (1, 2), (2, 3)])
def test_small_radii_are_one_look_at_each_part(radius, parts):
    steps = duplicates.join_steps(64, 10**7, radius)
    assert [step.radius for step in steps] == [0] * parts
    assert sum(step.bits for step in steps) >= min(64, 24 * parts) - 8


def test_every_join_finds_all_pairs():
    """The radii of the parts, counted, exceed the radius, or a part is joined at all of its own."""
    for bits in (1, 7, 32, 64, 300):
        for count in (0, 1, 1000, 10**7):
            for radius in (0, 1, 2, 5, 30, bits):
                steps = duplicates.join_steps(bits, count, min(radius, bits))
                parts = {(step.first, step.bits) for step in steps}
                ends = [0, *sorted(first + size for first, size in parts)]
                assert all(a <= first for (first, _), a in zip(sorted(parts), ends, strict=False))
                for part in parts:
                    radii = [s.radius for s in steps if (s.first, s.bits) == part]
                    assert radii == list(range(len(radii)))
                whole = any(size == 0 for _, size in parts)
                assert whole or len(steps) > min(radius, bits)


def test_a_hundred_thousand_equal_codes_are_one_group_without_listing_their_pairs():
    index = HammingIndex(64)
    index.add(np.zeros((100_000, 8), np.uint8))
    index.add(np.full((3, 8), 255, np.uint8))
    groups = groups_within(index, 2)
    assert groups.lims.tolist() == [0, 100_000, 100_003]
    assert np.array_equal(groups.ids, np.arange(100_003))
    with pytest.raises(ValueError, match="most must be at least the number of pairs"):
        pairs_within(index, 2)


def test_a_multi_index_and_any_order_of_ids_will_do():
    codes = pack_codes(np.random.default_rng(0).standard_normal((50, 6)))
    plain, multi = HammingIndex(6), MultiIndex(6, 2)
    for index in (plain, multi):
        index.add(codes, np.arange(50)[::-1] * 3)
    for one, other in zip(pairs_within(plain, 1), pairs_within(multi, 1), strict=True):
        assert np.array_equal(one, other)


@pytest.mark.parametrize("function", [pairs_within, groups_within])
@pytest.mark.parametrize("index, radius, error, words", [
    (None, 2, TypeError, "index must be a HammingIndex or a MultiIndex, got NoneType"),
    (HammingIndex(8), -1, ValueError, "radius must be an integer >= 0, got -1"),
    (HammingIndex(8), 1.5, TypeError, "radius must be an integer >= 0, got 1.5"),
])  # fmt: skip
def test_bad_input_is_a_sentence(function, index, radius, error, words):
    with pytest.raises(error, match=words):
        function(index, radius)


def test_most_must_be_a_number():
    with pytest.raises(ValueError, match="most must be an integer >= 0, got -1"):
        pairs_within(HammingIndex(8), 1, most=-1)
