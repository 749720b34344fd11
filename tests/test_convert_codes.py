"""Codes as np.packbits and sentence-transformers make them, in and out."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import semicon_fast as sf
from semicon_fast.search import HammingIndex, convert_codes, pack_codes, unpack_codes


def values(rows, bits, seed=0):
    return np.random.default_rng(seed).standard_normal((rows, bits)).astype(np.float32)


def elsewhere(x):
    """The codes of x as each library makes them."""
    big = np.packbits(x >= 0, axis=1)
    return {
        "little": np.packbits(x >= 0, axis=1, bitorder="little"),
        "big": big,
        "ubinary": big,
        "binary": (big.astype(int) - 128).astype(np.int8),
    }


@settings(derandomize=True, max_examples=60, deadline=None)
@given(st.integers(0, 9), st.integers(1, 130), st.integers(0, 5))
def test_every_format_comes_in_and_goes_out(rows, bits, seed):
    made = elsewhere(values(rows, bits, seed))
    for source, codes in made.items():
        for target, wanted in made.items():
            got = convert_codes(codes, bits, source=source, target=target)
            assert got.dtype == wanted.dtype and np.array_equal(got, wanted), (source, target)
            got = convert_codes(torch.from_numpy(codes), bits, source=source, target=target)
            assert torch.equal(got, torch.from_numpy(wanted)), (source, target)


def test_every_byte_of_binary_comes_in():
    ubinary = np.arange(256, dtype=np.uint8)[:, None]
    binary = (ubinary.astype(int) - 128).astype(np.int8)
    assert binary.min() == -128 and binary.max() == 127
    wanted = np.packbits(np.unpackbits(ubinary, axis=1), axis=1, bitorder="little")
    assert np.array_equal(convert_codes(binary, 8, source="binary"), wanted)


def test_distances_do_not_depend_on_the_order_and_signs_do():
    """Whole bytes of a wrong order search alike, which hides the mistake until bits are read."""
    x = values(200, 64)
    made = elsewhere(x)
    found = []
    for source in ("little", "big"):
        for as_they_are in (False, True):
            index = HammingIndex(64)
            codes = made[source] if as_they_are else convert_codes(made[source], 64, source=source)
            index.add(codes)
            found.append((*index.search(codes[:5], 20), unpack_codes(index.reconstruct([3]), 64)))
    signs = np.where(x[3] >= 0, 1, -1)
    for near, ids, _ in found:
        assert np.array_equal(near, found[0][0]) and np.array_equal(ids, found[0][1])
    assert [np.array_equal(read[0], signs) for _, _, read in found] == [True, True, True, False]


def test_codes_of_sentence_transformers_are_searched_and_given_back():
    """Its quantize_embeddings: packbits(x > 0), minus 128 as int8 for "binary"."""
    x = values(50, 384)
    ubinary = np.packbits(x > 0).reshape(50, -1)
    binary = (ubinary - 128).astype(np.int8)
    index = sf.HammingIndex(384)
    index.add(sf.convert_codes(binary, 384, source="binary"))
    assert np.array_equal(index.reconstruct(np.arange(50)), sf.pack_codes(x))
    back = index.reconstruct(np.arange(50))
    assert np.array_equal(sf.convert_codes(back, 384, target="binary"), binary)
    assert np.array_equal(sf.convert_codes(back, 384, target="ubinary"), ubinary)


def test_the_result_is_a_copy_and_strides_do_not_matter():
    codes = elsewhere(values(6, 30))["big"]
    got = convert_codes(codes, 30, source="big", target="big")
    assert np.array_equal(got, codes) and not np.shares_memory(got, codes)
    little = pack_codes(values(6, 30))
    assert not np.shares_memory(convert_codes(little, 30), little)
    assert np.array_equal(convert_codes(codes[::-2], 30, source="big"), little[::-2])


@pytest.mark.parametrize(
    "codes, options, error, words",
    [
        (np.zeros((1, 2), np.uint8), {"source": "msb"}, ValueError, "source must be one of little"),
        (np.zeros((1, 2), np.uint8), {"target": None}, ValueError, "target must be one of .* None"),
        (np.zeros((1, 2), np.uint8), {"source": "binary"}, TypeError, "must be int8 as 'binary'"),
        (np.zeros((1, 2), np.int8), {"source": "big"}, TypeError, "'big'.* got torch.int8"),
        (np.zeros((1, 3), np.uint8), {"source": "big"}, ValueError, r"\(N, 2\) for 12 bits"),
        (np.full((1, 2), 1, np.uint8), {"source": "big"}, ValueError, "0 in the 4 unused bits"),
        (np.full((1, 2), 128, np.uint8), {}, ValueError, "convert_codes brings other orders in"),
        ([[0, 0]], {"source": "big"}, TypeError, "must be a NumPy array or a torch tensor"),
        (np.zeros(2, np.uint8), {"source": "big"}, ValueError, r"got \(2,\)"),
    ],
)
def test_what_is_no_code_of_the_source_is_refused(codes, options, error, words):
    with pytest.raises(error, match=words):
        convert_codes(codes, 12, **options)
