"""Packed codes against np.packbits, and what packing refuses."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from semicon_fast.codes import check_bits, check_codes, join_codes
from semicon_fast.search import HammingIndex, code_bytes, pack_codes, select_bits, unpack_codes


def values(rows, bits, seed=0):
    return np.random.default_rng(seed).standard_normal((rows, bits)).astype(np.float32)


@settings(derandomize=True, max_examples=30, deadline=None)
@given(st.integers(0, 9), st.integers(1, 70), st.integers(0, 5))
def test_packing_is_packbits_little_and_unpacking_its_inverse(rows, bits, seed):
    x = values(rows, bits, seed)
    packed = pack_codes(x)
    assert isinstance(packed, np.ndarray) and packed.dtype == np.uint8
    assert np.array_equal(packed, np.packbits(x >= 0, axis=1, bitorder="little"))
    signs = unpack_codes(packed, bits)
    assert signs.dtype == np.int8 and np.array_equal(signs, np.where(x >= 0, 1, -1))
    tensor = pack_codes(torch.from_numpy(x))
    assert isinstance(tensor, torch.Tensor) and np.array_equal(tensor.numpy(), packed)
    assert torch.equal(pack_codes(unpack_codes(tensor, bits)), tensor)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_every_real_dtype_packs_alike_and_zero_is_a_one(dtype):
    x = torch.tensor([[-1, 0, 1, -1, -1, -1, -1, -1, 1]])
    assert pack_codes(x.to(dtype)).tolist() == [[0b110, 1]]


@pytest.mark.parametrize("dtype", [torch.int8, torch.int16, torch.int32, torch.int64])
def test_integers_of_one_and_minus_one_pack_as_signs(dtype):
    x = torch.tensor([[-1, 1, 1, -1, -1, -1, -1, -1, 1]])
    assert pack_codes(x.to(dtype)).tolist() == [[0b110, 1]]
    assert pack_codes(torch.ones(2, 3, dtype=dtype)).tolist() == [[7], [7]]
    assert pack_codes(torch.ones(0, 3, dtype=dtype)).shape == (0, 1)


ZEROS_AND_ONES = np.random.default_rng(0).integers(0, 2, (5, 16))


@pytest.mark.parametrize("kind", ["int64", "int8", "float16", "float32", "float64", "uint8"])
@pytest.mark.parametrize("convert", [np.asarray, torch.from_numpy], ids=["numpy", "torch"])
def test_zeros_and_ones_are_refused_and_their_bool_has_the_true_distances(kind, convert):
    with pytest.raises((ValueError, TypeError), match="packed as bool: x > 0|to bool first"):
        pack_codes(convert(ZEROS_AND_ONES.astype(kind)))
    index = HammingIndex(16)
    index.add(np.asarray(pack_codes(convert(ZEROS_AND_ONES.astype(kind)) > 0)))
    distances, ids = index.search(index.reconstruct([0]), 5)
    differing = (ZEROS_AND_ONES[0] != ZEROS_AND_ONES).sum(1)
    assert distances[0].tolist() == sorted(differing.tolist()) == differing[ids[0]].tolist()


def test_zeros_and_ones_are_told_by_the_whole_input():
    """One other value, wherever it is, makes them real values; ones alone are +1, zeros sign(0)."""
    x = ZEROS_AND_ONES.astype(np.float32)
    for row, column, value in ((0, 0, -1), (4, 15, 0.5), (2, 7, np.inf), (3, 3, 1 + 2**-20)):
        real = x.copy()
        real[row, column] = value
        assert np.array_equal(pack_codes(real), np.packbits(real >= 0, axis=1, bitorder="little"))
    for value in (0.0, 1.0, -0.0):
        assert pack_codes(np.full((2, 9), value)).tolist() == [[255, 1]] * 2
    first_row_of_ones = np.where(np.arange(3)[:, None] == 0, 1.0, x[:3])
    with pytest.raises(ValueError, match="floating-point 0 and 1 alone"):
        pack_codes(first_row_of_ones)


@pytest.mark.parametrize(
    "x, words",
    [
        (np.array([[-1, 0, 1]]), "must be -1 and +1, got 0 among them$"),
        (np.zeros((2, 3), int), "got 0 among them$"),
        (np.array([[-128, 127]], np.int8), "got -128 to 127$"),
        (np.array([[-1, 2]]), "got -1 to 2$"),
        (np.array([[0, 200]]), "got 0 to 200$"),
    ],
    ids=["signs of sign()", "zeros", "codes as int8 bytes", "beyond", "packed bytes as int64"],
)
def test_other_integers_are_no_signs(x, words):
    with pytest.raises(ValueError, match=words.replace("+", r"\+")):
        pack_codes(x)


def test_unpacked_codes_are_told_how_to_be_packed():
    with pytest.raises(ValueError, match=r"must be \(N, 2\) for 16 bits, got \(5, 16\); .*x > 0"):
        HammingIndex(16).add(ZEROS_AND_ONES.astype(np.uint8))


def test_bool_packs_as_it_is():
    assert pack_codes(np.array([[False, True, False]])).tolist() == [[0b010]]


def test_4096_bits_and_1_bit_pack():
    assert pack_codes(values(2, 4096)).shape == (2, 512) and pack_codes(values(2, 1)).shape == (
        2,
        1,
    )
    assert [code_bytes(b) for b in (1, 8, 9, 4096)] == [1, 1, 2, 512]


def test_strided_values_pack_like_their_copies():
    x = values(10, 30)
    for view in (x[::-2, ::3], x.T[:, 2:], np.asfortranarray(x)):
        assert np.array_equal(pack_codes(view), pack_codes(view.copy()))
    tensor = torch.from_numpy(x).T[3:, ::2]
    assert torch.equal(pack_codes(tensor), pack_codes(tensor.contiguous()))


@pytest.mark.parametrize(
    "x, error, words",
    [
        ([[1.0]], TypeError, "x must be a NumPy array or a torch tensor, got list"),
        (np.array([[1.0, np.nan]]), ValueError, "x must hold numbers, got NaN"),
        (np.ones(4), ValueError, r"x must be \(N, bits\) with 1 to 4096 bits, got \(4,\)"),
        (np.ones((2, 0)), ValueError, r"got \(2, 0\)"),
        (np.ones((1, 4097)), ValueError, r"got \(1, 4097\)"),
        (np.ones((1, 4), np.uint8), TypeError, "convert zeros and ones to bool first"),
        (np.ones((1, 4), complex), TypeError, "x must be bool, float or signed integer"),
        (np.array([["a"]]), TypeError, "dtype torch does not have"),
    ],
)
def test_packing_refuses_in_a_sentence(x, error, words):
    with pytest.raises(error, match=words):
        pack_codes(x)


@pytest.mark.parametrize(
    "codes, bits, error, words",
    [
        (np.zeros((2, 2), np.int8), 16, TypeError, "codes must be packed uint8 .* got torch.int8"),
        (np.zeros((2, 2), np.uint8), 17, ValueError, r"must be \(N, 3\) for 17 bits, got \(2, 2\)"),
        (np.zeros(2, np.uint8), 16, ValueError, r"got \(2,\)"),
        (np.full((2, 2), 4, np.uint8), 10, ValueError, "0 in the 6 unused bits of the last byte"),
        (
            np.zeros((2, 2), np.uint8),
            0,
            ValueError,
            "bits must be an integer from 1 to 4096, got 0",
        ),
        (np.zeros((2, 2), np.uint8), 16.0, TypeError, "bits must be an integer .* got 16.0"),
        (np.zeros((2, 2), np.uint8), True, TypeError, "bits must be an integer"),
    ],
)
def test_what_is_no_code_is_refused_in_a_sentence(codes, bits, error, words):
    for function in (unpack_codes, check_codes):
        with pytest.raises(error, match=words):
            function(codes, bits)


def test_bits_above_4096_are_refused():
    with pytest.raises(ValueError, match="got 4097"):
        check_bits(4097)


def test_checked_codes_share_memory_also_when_they_are_read_only(recwarn):
    codes = pack_codes(values(3, 12))
    codes.flags.writeable = False
    assert check_codes(codes, 12).data_ptr() == codes.ctypes.data
    assert not recwarn.list


@pytest.mark.parametrize("positions", [range(5, 17), [3], [9, 2, 2, 0]])
def test_selected_bits_are_the_columns(positions, monkeypatch):
    monkeypatch.setattr("semicon_fast.codes._ROWS", 4)
    x = values(11, 20)
    assert np.array_equal(select_bits(pack_codes(x), 20, positions), pack_codes(x[:, positions]))


@pytest.mark.parametrize("positions, words", [([], "at least one"), ([20], "0 to 19, got 20")])
def test_bits_outside_the_code_are_refused(positions, words):
    with pytest.raises(ValueError, match=words):
        select_bits(pack_codes(values(2, 20)), 20, positions)


def test_joined_codes_have_the_columns_of_the_pieces():
    pieces = [(values(7, bits), bits) for bits in (3, 8, 13)]
    joined = join_codes([(torch.from_numpy(pack_codes(x)), bits) for x, bits in pieces])
    assert np.array_equal(joined, pack_codes(np.concatenate([x for x, _ in pieces], axis=1)))
