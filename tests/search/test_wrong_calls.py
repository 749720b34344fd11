"""Thousands of generated wrong calls: a sentence each, and the index stays what it was."""

import random
from pathlib import Path

import numpy as np
import pytest
import torch

import semicon_fast as sf
from semicon_fast.search import HammingIndex, convert_codes, pack_codes, select_bits, unpack_codes

BITS, WIDTH, COUNT = 20, 3, 40
PACKAGE = Path(sf.__file__).parent
NUMBERS = ["i1", "i2", "i4", "i8", ">i4", "u2", "u4", "u8", "f2", "f4", "f8", "f16", "?"]
NO_NUMBERS = ["c8", "c16", "O", "U3", "S3", "M8[s]", "V6"]


def codes(rows, seed=0):
    return pack_codes(np.random.default_rng(seed).standard_normal((rows, BITS)))


def strided(draw, array):
    """The same shape and dtype in another place of memory: holes, negative steps, read-only."""
    if array.ndim == 0 or array.size == 0:
        return array
    kind = draw.randrange(4)
    if kind == 0:
        return array[::-1]
    if kind == 1:
        return np.repeat(array, 2, axis=0)[::2]
    array = np.array(array, order="F" if kind == 2 else "C")
    array.flags.writeable = False
    return array


def wrong_tensor(draw):
    rows = draw.randrange(4)
    return draw.choice(
        [
            lambda: torch.zeros(rows, WIDTH, dtype=torch.uint8, device="meta"),
            lambda: torch.ones(rows, WIDTH, dtype=torch.uint8).to_sparse(),
            lambda: torch.ones(rows, WIDTH, requires_grad=True),
            lambda: torch.ones(rows, WIDTH, dtype=torch.bfloat16),
            lambda: torch.full((rows, WIDTH), torch.nan),
            lambda: torch.ones(rows, WIDTH, dtype=torch.complex64).conj(),
            lambda: torch.tensor(1, dtype=torch.uint8),
            lambda: torch.zeros(rows, WIDTH, 1, dtype=torch.uint8),
            lambda: torch.zeros(rows + 4, WIDTH, dtype=torch.uint8).T,
        ]
    )()


def wrong_codes(draw):
    """Anything but uint8 (n, 3) with 0 in the last four bits."""
    kind = draw.randrange(6)
    rows = draw.randrange(5)
    if kind == 0:
        return strided(draw, np.zeros((rows, WIDTH), draw.choice(NUMBERS + NO_NUMBERS)))
    if kind == 1:
        width = draw.choice([0, 1, WIDTH - 1, WIDTH + 1, 20, 513])
        return strided(draw, np.zeros((rows, width), np.uint8))
    if kind == 2:
        shape = draw.choice([(), (WIDTH,), (0,), (2, 2, WIDTH), (1, rows, WIDTH)])
        return strided(draw, np.zeros(shape, np.uint8))
    if kind == 3:
        beyond = codes(rows + 1)
        beyond[draw.randrange(rows + 1), -1] |= 1 << draw.randrange(4, 8)
        return draw.choice([strided(draw, beyond), torch.from_numpy(beyond)])
    if kind == 4:
        return draw.choice([None, "codes", 7, 1.5, [[1, 2, 3]], [], {}, b"abc", object(), codes])
    return wrong_tensor(draw)


def no_ids(draw):
    """What stands for ids nowhere."""
    return draw.choice(
        [
            np.zeros(2, draw.choice(["f2", "f4", "f8", *NO_NUMBERS])),
            np.array([np.nan, 1]),
            np.array(3),
            np.zeros((2, 2), int),
            np.array([-1, 5])[::-1],
            np.array([2**63], np.uint64),
            np.array([2**64 - 1], np.uint64)[::-1],
            [[1], [2, 3]],
            [2**100],
            [-(2**63)],
            [2**63 - 1],
            ["1"],
            [None],
            [1.0],
            "12",
            {1, 2},
            7,
            2.5,
            torch.tensor(3),
            torch.tensor([1.0], requires_grad=True),
            torch.zeros(2, dtype=torch.int64, device="meta"),
            torch.tensor([1, 1]).to_sparse(),
            torch.zeros(1, 1, dtype=torch.int32),
        ]
    )


def absent_ids(draw):
    return draw.choice([no_ids(draw), [COUNT], [0, 10**12], np.arange(COUNT + 1)[::-1]])


def wrong_subset(draw):
    return draw.choice(
        [absent_ids(draw), np.ones(COUNT - 1, bool), torch.ones(COUNT + 1, dtype=torch.bool)]
    )


def wrong_count(draw, low=1):
    """No integer, or one below `low`."""
    return draw.choice(
        [low - 1, -(2**63), -(2**100), 1.0, float("nan"), "3", None, True, np.float32(3), 2j]
        + [[3], np.array([1, 2]), np.True_, torch.tensor(2.0), torch.tensor([1, 2]), object()]
    )


def wrong_k(draw):
    return draw.choice([wrong_count(draw), 2**24 + 1, 2**31 - 1, 2**62, 2**63])


def wrong_path(draw):
    return draw.choice([None, 3, 0, True, 1.5, b"index", [], "with\0zero"])


def added_ids(draw, rows):
    """Ids that `rows` new codes cannot have."""
    return draw.choice(
        [
            no_ids(draw),
            list(range(COUNT, COUNT + rows + 1)),
            np.arange(rows)[::-1],
            [COUNT + 5] * rows,
        ]
    )


def others(draw):
    shared = HammingIndex(BITS)
    shared.add(codes(1), [draw.randrange(COUNT)])
    return draw.choice([None, codes(2), "index", HammingIndex(BITS + 1), shared])


def assert_sentence(error, number):
    """Words, and said by the library, not by what made up the call."""
    assert len(str(error.value).split()) >= 3, (number, error.value)
    assert any(Path(e.path).is_relative_to(PACKAGE) for e in error.traceback), (number, error.value)


METHODS = {
    "add: codes": lambda i, d: i.add(wrong_codes(d)),
    "add: ids": lambda i, d: i.add(codes(2), added_ids(d, 2)),
    "search: queries": lambda i, d: i.search(wrong_codes(d), 3),
    "search: k": lambda i, d: i.search(codes(2), wrong_k(d)),
    "search: subset": lambda i, d: i.search(codes(2), 3, subset=wrong_subset(d)),
    "range_search: queries": lambda i, d: i.range_search(wrong_codes(d), 3),
    "range_search: radius": lambda i, d: i.range_search(codes(2), wrong_count(d, 0)),
    "range_search: subset": lambda i, d: i.range_search(codes(2), 3, subset=wrong_subset(d)),
    "rank: queries": lambda i, d: i.rank(wrong_codes(d)),
    "rank: subset": lambda i, d: i.rank(codes(2), subset=wrong_subset(d)),
    "remove_ids": lambda i, d: i.remove_ids(absent_ids(d)),
    "reconstruct": lambda i, d: i.reconstruct(absent_ids(d)),
    "reserve": lambda i, d: i.reserve(d.choice([wrong_count(d, 0), 2**63, 2**100])),
    "merge": lambda i, d: i.merge(others(d)),
    "save": lambda i, d: i.save(wrong_path(d)),
    "load": lambda i, d: HammingIndex.load(wrong_path(d)),
    "bits": lambda i, d: HammingIndex(d.choice([wrong_count(d), 4097, 2**70])),
    "device": lambda i, d: HammingIndex(8, d.choice([None, 3, 1.5, "meta", "abacus", "cpu:x", ""])),
}


@pytest.mark.parametrize("name", METHODS)
def test_a_wrong_call_of_an_index_is_a_sentence_and_changes_nothing(name):
    index = HammingIndex(BITS)
    index.add(codes(COUNT))
    before, content, draw = index._store, codes(COUNT), random.Random(name)
    for number in range(400):
        with pytest.raises((ValueError, TypeError)) as error:
            METHODS[name](index, draw)
        assert_sentence(error, number)
        assert index._store is before and len(index) == COUNT
    assert np.array_equal(index.reconstruct(np.arange(COUNT)), content)
    assert index.ids().tolist() == list(range(COUNT))


def wrong_values(draw):
    return draw.choice(
        [
            None,
            [[1.0]],
            np.ones(draw.choice([(), (3,), (2, 0), (1, 4097), (1, 2, 3)])),
            np.array([[1.0, np.nan]])[:, ::-1],
            np.ones((2, 9), draw.choice(["u1", "u2", "u8", *NO_NUMBERS])),
            torch.ones(2, 9, device="meta"),
            torch.ones(2, 9).to_sparse(),
            torch.full((2, 9), torch.nan, requires_grad=True),
        ]
    )


def wrong_format(draw):
    return draw.choice([None, "", "Little", "msb", 1, b"big", ["big"], np.uint8])


def features(draw):
    return draw.choice(
        [None, np.ones((2, 3), int), np.ones(3), np.full((2, 3), np.inf), wrong_tensor(draw)]
    )


FUNCTIONS = {
    "pack_codes": lambda d: pack_codes(wrong_values(d)),
    "unpack_codes: codes": lambda d: unpack_codes(wrong_codes(d), BITS),
    "unpack_codes: bits": lambda d: unpack_codes(codes(2), d.choice([wrong_count(d), 8, 25, 4097])),
    "select_bits: codes": lambda d: select_bits(wrong_codes(d), BITS, [1, 2]),
    "select_bits: positions": lambda d: select_bits(
        codes(2), BITS, d.choice([[], [BITS], [-1], [0.5], [True], [None]])
    ),
    "convert_codes: codes": lambda d: convert_codes(wrong_codes(d), BITS),
    "convert_codes: source": lambda d: convert_codes(codes(2), BITS, source=wrong_format(d)),
    "convert_codes: target": lambda d: convert_codes(codes(2), BITS, target=wrong_format(d)),
    "rerank: features": lambda d: sf.rerank(features(d), np.ones((5, 3)), np.zeros((2, 1), int), 1),
    "rerank: k": lambda d: sf.rerank(
        np.ones((2, 3)), np.ones((5, 3)), np.zeros((2, 1), int), wrong_count(d)
    ),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_wrong_call_of_a_function_is_a_sentence(name):
    draw = random.Random(name)
    for number in range(200):
        with pytest.raises((ValueError, TypeError)) as error:
            FUNCTIONS[name](draw)
        assert_sentence(error, number)
