"""Packed binary codes: ceil(bits / 8) bytes per code, least significant bit first.

Bit i of a code is bit i % 8 of byte i // 8, as in `np.packbits(..., bitorder="little")` and faiss.
A value x becomes the bit x >= 0, so sign(0) is +1. Unused bits of the last byte are 0. Zeros and
ones are bits already, of which that rule would make ones alone: they are packed as bool.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from .arrays import Array, as_tensor, check_choice, check_integer, like
from .reference import hamming as reference

MAX_BITS = 4096
BIT_ORDER = "little"
SIGN_RULE = "x >= 0"
FORMATS = ("little", "big", "ubinary", "binary")

# Rows that `select_bits` unpacks at a time; bounds temporary memory.
_ROWS = 1 << 16
_UNSIGNED = {torch.uint8, torch.uint16, torch.uint32, torch.uint64}


def check_bits(bits: int) -> int:
    """`bits` as an int. Raises TypeError or ValueError unless it is in 1..4096."""
    return check_integer(bits, "bits", 1, MAX_BITS)


def code_bytes(bits: int) -> int:
    """Number of bytes of a code of `bits` bits (1..4096): ceil(bits / 8)."""
    return (check_bits(bits) + 7) // 8


def pack_codes(x: Array) -> Array:
    """Packs x (N, bits), real, +-1 or bool, into uint8 (N, ceil(bits / 8)); bit = x >= 0 (bool: x).

    Integers must be -1 and +1. Floating-point x may hold any numbers, but not 0 and 1 alone, which
    are bits and not signs: `x > 0` packs those. Without a 1 zeros are real values, so sign(0) = +1.

    A NumPy array gives a NumPy array, a tensor gives a tensor on its device. Raises ValueError for
    NaN, for integers other than -1 and +1, for floating-point values that are 0 and 1 alone, and
    for shapes other than (N, 1..4096); TypeError for complex and unsigned values.
    """
    values = as_tensor(x, "pack_codes: x")
    if values.ndim != 2 or not 1 <= values.shape[1] <= MAX_BITS:
        raise ValueError(
            f"pack_codes: x must be (N, bits) with 1 to {MAX_BITS} bits, got {tuple(values.shape)}"
        )
    if values.is_complex() or values.dtype in _UNSIGNED:
        raise TypeError(
            f"pack_codes: x must be bool, float or signed integer, got {values.dtype}; "
            "convert zeros and ones to bool first"
        )
    if values.is_floating_point():
        if values.isnan().any():
            raise ValueError("pack_codes: x must hold numbers, got NaN")
        _refuse_bits(values)
    elif values.dtype is not torch.bool:
        _check_signs(values)
    return like(_pack(values if values.dtype is torch.bool else values >= 0), x)


def _refuse_bits(values: Tensor) -> None:
    """Raises ValueError if floating-point values (N, bits) are 0 and 1 alone, and both occur.

    Of real values and of +-1 nearly always the first row shows that they are no zeros and ones, so
    that the others are not read.
    """
    for part in (values[:1], values[1:]):
        if not ((part == 0) | (part == 1)).all():
            return
    if (values == 0).any() and (values == 1).any():
        raise ValueError(
            "pack_codes: x must be real values, -1 and +1, or bool, got floating-point 0 and 1 "
            "alone, which would all become ones (x >= 0); zeros and ones are packed as bool: x > 0"
        )


def _check_signs(values: Tensor) -> None:
    """Raises ValueError unless all integers are -1 or +1."""
    if values.numel() == 0:
        return
    low, high = (int(value) for value in values.aminmax())
    if low < -1 or high > 1 or not values.all():
        hint = "; zeros and ones are packed as bool: x > 0" if (low, high) == (0, 1) else ""
        raise ValueError(
            "pack_codes: integers in x must be -1 and +1, got "
            f"{'0 among them' if -1 <= low <= high <= 1 else f'{low} to {high}'}{hint}"
        )


def _pack(bits: Tensor) -> Tensor:
    """bits bool (N, bits) -> uint8 (N, ceil(bits / 8))."""
    rows, width = bits.shape
    size = (width + 7) // 8
    padded = torch.zeros(rows, size * 8, dtype=torch.uint8, device=bits.device)
    padded[:, :width] = bits
    shifts = torch.arange(8, dtype=torch.uint8, device=bits.device)
    return (padded.view(rows, size, 8) << shifts).sum(-1, dtype=torch.uint8)


def unpack_codes(codes: Array, bits: int) -> Array:
    """codes uint8 (N, ceil(bits / 8)) -> int8 (N, bits) of -1 and +1; the inverse of `pack_codes`.

    A NumPy array gives a NumPy array, a tensor gives a tensor on its device. Raises as
    `check_codes`.
    """
    packed = check_codes(codes, bits, "unpack_codes: codes")
    ones = reference.unpack_bits(packed)[:, :bits].to(torch.int8)
    return like(ones.mul_(2).sub_(1), codes)


def check_codes(codes: Any, bits: int, name: str = "codes") -> Tensor:
    """Checks packed codes of `bits` bits and returns them as a tensor that shares their memory.

    Raises TypeError unless they are a uint8 NumPy array or tensor, ValueError unless their shape is
    (N, ceil(bits / 8)) and all unused bits of the last byte are 0.
    """
    size = code_bytes(bits)
    packed = as_tensor(codes, name)
    if packed.dtype is not torch.uint8:
        raise TypeError(f"{name} must be packed uint8 (see pack_codes), got {packed.dtype}")
    if packed.ndim != 2 or packed.shape[1] != size:
        unpacked = packed.ndim == 2 and packed.shape[1] == bits
        hint = "; one value a bit is packed by pack_codes(x > 0)" if unpacked else ""
        raise ValueError(
            f"{name} must be (N, {size}) for {bits} bits, got {tuple(packed.shape)}{hint}"
        )
    if bits % 8 and (packed[:, -1] >> (bits % 8)).any():
        raise ValueError(
            f"{name} must have 0 in the {8 - bits % 8} unused bits of the last byte ({bits} bits, "
            "least significant first; convert_codes brings other orders in), got ones there"
        )
    return packed


def select_bits(codes: Array, bits: int, positions: Sequence[int]) -> Array:
    """Codes of selected bits: uint8 (N, ceil(bits / 8)) -> uint8 (N, ceil(len(positions) / 8)).

    positions: the bits in their new order, each in 0..bits - 1; they may repeat. Raises as
    `check_codes`, and ValueError if positions is empty or one is out of range.
    """
    packed = check_codes(codes, bits, "select_bits: codes")
    kept = [check_integer(p, "select_bits: positions", 0, bits - 1) for p in positions]
    if not kept:
        raise ValueError("select_bits: positions must name at least one bit, got none")
    index = torch.tensor(kept, device=packed.device)
    parts = [
        _pack(reference.unpack_bits(packed[start : start + _ROWS])[:, index])
        for start in range(0, max(1, packed.shape[0]), _ROWS)
    ]
    return like(torch.cat(parts), codes)


def join_codes(pieces: Sequence[tuple[Tensor, int]]) -> Tensor:
    """Codes side by side, whose Hamming distances are the sums of those of the pieces.

    pieces: (codes uint8 (N, ceil(k / 8)), bits k) of each, on one device. The result is uint8 (N,
    ceil(K / 8)), where K is the sum of their bits. Raises as `check_codes`.
    """
    return pack_codes(torch.cat([unpack_codes(codes, bits) for codes, bits in pieces], dim=1))


def convert_codes(
    codes: Array, bits: int, *, source: str = "little", target: str = "little"
) -> Array:
    """Converts codes from another format to this library's (`source=`), or back (`target=`).

    - "little": uint8, least significant bit first: `pack_codes`, `np.packbits(bitorder="little")`,
      faiss.
    - "big": uint8, most significant bit first, the default of `np.packbits`; unused bits are the
      lowest of the last byte.
    - "ubinary": sentence-transformers' name for "big".
    - "binary": int8, sentence-transformers' ubinary - 128.

    sentence-transformers sets a bit if x > 0, `pack_codes` if x >= 0, so bits of zeros differ.
    Distances between codes of the same format do not depend on the format, but `unpack_codes`,
    `select_bits` and index files do.

    codes: (N, ceil(bits / 8)), bits: 1..4096. Returns a new array or tensor of the same shape.
    Raises TypeError or ValueError for an unknown format and for codes that are not in the format
    `source`.
    """
    check_choice(source, FORMATS, "convert_codes: source")
    check_choice(target, FORMATS, "convert_codes: target")
    packed = as_tensor(codes, "convert_codes: codes")
    if source == "binary":
        if packed.dtype is not torch.int8:
            raise TypeError(f"convert_codes: codes must be int8 as 'binary', got {packed.dtype}")
        packed = packed.view(torch.uint8) ^ 128  # adding or subtracting 128 flips the highest bit
    if source != "little" and packed.dtype is torch.uint8:
        packed = _mirrored(packed)
    packed = check_codes(packed, bits, f"convert_codes: codes (as {source!r})")
    result = packed.clone() if target == "little" else _mirrored(packed)
    return like((result ^ 128).view(torch.int8) if target == "binary" else result, codes)


def _mirrored(codes: Tensor) -> Tensor:
    """Reverses the bits of each byte by swapping halves, pairs and single bits."""
    for shift, mask in ((4, 0x0F), (2, 0x33), (1, 0x55)):
        codes = ((codes >> shift) & mask) | ((codes & mask) << shift)
    return codes
