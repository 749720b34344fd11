"""Groups of bits: which bits belong to which part, and Hamming distances by part."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from ..arrays import Array, like
from ..codes import check_codes

# Pairs of codes compared at a time; bounds memory and does not affect results.
_PAIRS = 1 << 18
_POPCOUNT = torch.tensor([i.bit_count() for i in range(256)], dtype=torch.int32)

BitGroups = Mapping[str, "slice | Sequence[int]"]


def bit_positions(bit_groups: BitGroups, bits: int, *, all_bits: bool = False) -> dict[str, range]:
    """Name of each part -> its bits, in the given order.

    Args:
        bit_groups: name -> slice of 0..bits, or [start, stop] as in `gallery.json`; disjoint and
            not empty.
        bits: length of a code.
        all_bits: whether every bit must belong to a group.

    Raises TypeError or ValueError.
    """
    if not isinstance(bit_groups, Mapping):
        raise TypeError(
            f"bit_groups must map names to slices, got {type(bit_groups).__name__} (see "
            "model.bit_groups)"
        )
    groups: dict[str, range] = {}
    seen: set[int] = set()
    for name, group in bit_groups.items():
        if isinstance(group, (list, tuple)) and [type(end) for end in group] == [int, int]:
            group = slice(*group)
        if not isinstance(name, str) or not isinstance(group, slice):
            raise TypeError(f"bit_groups must map names to slices, got {group!r} for {name!r}")
        groups[name] = range(bits)[group]
        outside = group.stop is not None and group.stop > bits
        if not groups[name] or outside or seen.intersection(groups[name]):
            raise ValueError(
                f"bit_groups must be disjoint, non-empty slices of {bits} bits, "
                f"got {group} for {name!r}"
            )
        seen.update(groups[name])
    if not groups:
        raise ValueError("bit_groups must name at least one group of bits, got none")
    if all_bits and len(seen) < bits:
        missing = min(set(range(bits)) - seen)
        raise ValueError(f"bit_groups must cover all {bits} bits, but bit {missing} is in no group")
    return groups


def part_distances(a: Array, b: Array, bits: int, bit_groups: BitGroups) -> Array:
    """How many bits of each part differ between code i of `a` and code i of `b`: int32 (N, parts).

    Args:
        a, b: packed codes, uint8 (N, ceil(bits / 8)); one of the two may be a single code.
        bits: length of a code.
        bit_groups: name -> slice or [start, stop], as `model.bit_groups`. Every bit belongs to one
            group, so the sum of a row is the Hamming distance.

    Raises TypeError or ValueError.
    """
    left = check_codes(a, bits, "a")
    right = check_codes(b, bits, "b").to(left.device)
    if len(left) != len(right) and 1 not in (len(left), len(right)):
        raise ValueError(
            f"a and b must be equally many codes, or one, got {len(left)} and {len(right)}"
        )
    masks = part_masks(bit_positions(bit_groups, bits, all_bits=True), bits)
    return like(_counted(left ^ right, masks.to(left.device)), a)


def part_masks(groups: Mapping[str, Sequence[int]], bits: int) -> Tensor:
    """uint8 (parts, ceil(bits / 8)): for each part a code in which exactly its bits are set."""
    masks = torch.zeros(len(groups), (bits + 7) // 8, dtype=torch.uint8)
    for row, positions in enumerate(groups.values()):
        for bit in positions:
            masks[row, bit // 8] |= 1 << bit % 8
    return masks


def _counted(differing: Tensor, masks: Tensor) -> Tensor:
    """Counts the bits of differing uint8 (N, bytes) under each mask uint8 (parts, bytes).

    Returns int32 (N, parts). Works in blocks of rows, so that temporary memory is bounded.
    """
    popcount = _POPCOUNT.to(differing.device)
    result = torch.empty(len(differing), len(masks), dtype=torch.int32, device=differing.device)
    for start in range(0, len(differing), _PAIRS):
        block = differing[start : start + _PAIRS]
        for part, mask in enumerate(masks):
            counts = popcount[(block & mask).int()]
            result[start : start + _PAIRS, part] = counts.sum(1, dtype=torch.int32)
    return result


def hit_distances(queries: Tensor, codes: Tensor, where: Tensor, masks: Tensor) -> Tensor:
    """Distances by part from each query to the codes at positions `where`: int32 (Q, k, parts).

    queries uint8 (Q, bytes), codes uint8 (N, bytes), where int64 (Q, k), masks as `part_masks`.
    """
    k = where.shape[1]
    result = torch.empty(*where.shape, len(masks), dtype=torch.int32, device=where.device)
    step = max(1, _PAIRS // max(1, k))
    masks = masks.to(where.device)
    for start in range(0, len(where), step):
        rows = slice(start, start + step)
        differing = codes[where[rows]] ^ queries[rows].unsqueeze(1)
        counts = _counted(differing.flatten(0, 1), masks)
        result[rows] = counts.reshape(result[rows].shape)
    return result
