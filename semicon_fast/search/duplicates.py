"""Near-duplicates: all pairs of codes within a radius of each other, and the groups they form."""

import heapq
import math
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ..arrays import check_integer
from ..ops.tables import MAX_ADDRESS_BITS, Step, close_groups, close_pairs
from ._collection import Collection

MOST_PAIRS = 100_000_000

# What is compared with what it takes to make a table, in comparisons of two codes: for each code,
# and for each address that is looked up.
_COPIED, _LOOKED_UP = 30, 5
_MOST_PARTS = 64


class Pairs(NamedTuple):
    """Pairs of codes: ids int64 (P, 2), smaller id first, and distances int32 (P,)."""

    ids: np.ndarray
    distances: np.ndarray


class Groups(NamedTuple):
    """Groups of ids: group g is ids[lims[g]] to ids[lims[g + 1] - 1]; int64 (G + 1,) and (T,)."""

    lims: np.ndarray
    ids: np.ndarray


def pairs_within(index: Collection, radius: int, *, most: int = MOST_PAIRS) -> Pairs:
    """All pairs of codes at distance <= radius, each once, ascending by their ids.

    Tables of parts of the codes, made for the call one after another, find the pairs that can be
    near: two codes at distance r agree on one of r + 1 parts. Near-duplicates of 64-bit codes take
    time about proportional to the number of codes, larger radii up to its square.

    Args:
        index: a HammingIndex on the CPU, or a MultiIndex.
        radius: at least 0.
        most: the largest number of pairs that is acceptable; each takes 20 bytes, and 50 more while
            they are sorted.

    Raises TypeError or ValueError for a wrong argument, and ValueError if there are more than
    `most` pairs; `groups_within` does not list them.
    """
    codes, ids, radius = _checked(index, radius)
    most = check_integer(most, "most", 0)
    same = _Distinct(codes)
    twice = int((same.sizes * (same.sizes - 1) // 2).sum())
    found = None
    if twice <= most:
        found = close_pairs(
            same.codes, join_steps(index.bits, len(same.codes), radius), radius, most
        )
    if found is not None:
        sizes = same.sizes[found[0]] * same.sizes[found[1]]
        if twice + int(sizes.sum()) > most:
            found = None
    if found is None:
        raise ValueError(
            f"most must be at least the number of pairs within radius {radius}, got {most}; "
            "groups_within needs no list of pairs"
        )
    same_first, same_second = same.alike()
    first, second, distances = same.expanded(*found)
    first, second = torch.cat([same_first, first]), torch.cat([same_second, second])
    distances = torch.cat([distances.new_zeros(len(same_first)), distances])
    order = second.argsort(stable=True)
    order = order[first[order].argsort(stable=True)]
    pairs = torch.stack([first[order], second[order]], 1)
    return Pairs(_to_ids(pairs, ids).numpy(), distances[order].numpy())


def groups_within(index: Collection, radius: int) -> Groups:
    """Groups of codes that pairs at distance <= radius connect: their connected components.

    Two codes of a group may be further apart than the radius, with others in between. Groups have
    at least two codes; they are ascending by their smallest id, as are the ids of each. Pairs are
    found as in `pairs_within`, but not listed. Raises TypeError or ValueError for a wrong argument.
    """
    codes, ids, radius = _checked(index, radius)
    same = _Distinct(codes)
    roots = close_groups(same.codes, join_steps(index.bits, len(same.codes), radius), radius)
    # The distinct codes are in the order of their first positions, so a root has the smallest.
    group = same.first[roots][same.of]
    order = group.argsort(stable=True)
    group = group[order]
    start = torch.ones(len(group), dtype=torch.bool)
    start[1:] = group[1:] != group[:-1]
    sizes = torch.diff(start.nonzero().flatten(), append=torch.tensor([len(group)]))
    several = sizes > 1
    members = order[several.repeat_interleave(sizes)]
    lims = torch.cat([torch.zeros(1, dtype=torch.int64), sizes[several].cumsum(0)])
    return Groups(lims.numpy(), _to_ids(members, ids).numpy())


def join_steps(bits: int, count: int, radius: int) -> list[Step]:
    """The joins that find all pairs of `count` codes within `radius`, at the least expected cost.

    Parts of the code are joined where they differ in 0, 1, ... bits; all pairs are found once the
    numbers of such radii, summed over the parts, exceed the radius. Parts need not cover the code.
    """
    everything = count * count / 2
    best, cheapest = [Step(0, 0, 0)], everything
    most = min(MAX_ADDRESS_BITS - 2, max(count, 2).bit_length() + 1)
    for parts in range(1, min(bits, radius + 1, _MOST_PARTS) + 1):
        width, longer = divmod(bits, parts)
        spans, first = [], 0
        for part in range(parts):
            size = width + (part < longer)
            spans.append((first, min(size, most)))
            first += size
        steps, cost = _widened(spans, count, radius, cheapest)
        if cost < cheapest:
            best, cheapest = steps, cost
    return sorted(best)


def _widened(
    spans: list[tuple[int, int]], count: int, radius: int, most: float
) -> tuple[list[Step], float]:
    """The cheapest joins of these parts, (first, bits), and their cost, if below `most`."""
    steps: list[Step] = []
    total = 0.0
    nexts = [(_cost(bits, 0, count), part, 0) for part, (_, bits) in enumerate(spans)]
    heapq.heapify(nexts)
    while len(steps) <= radius and total < most:
        cost, part, done = nexts[0]
        total += cost
        steps.append(Step(*spans[part], done))
        heapq.heapreplace(nexts, (_cost(spans[part][1], done + 1, count), part, done + 1))
    return steps, total


def _cost(bits: int, radius: int, count: int) -> float:
    if radius > bits:
        return math.inf
    table = _COPIED * count if radius == 0 else 0
    flips = math.comb(bits, radius)
    return table + flips * (_LOOKED_UP * min(2**bits, count) + count * count / 2**bits) / 2


class _Distinct:
    """The distinct ones among codes uint8 (N, bytes).

    codes (D, bytes); of (N,): which of them each code is; sizes (D,): how many codes are alike;
    first (D,): the first position of each.
    """

    def __init__(self, codes: Tensor) -> None:
        count = len(codes)
        order = torch.arange(count)
        for word in _words(codes):
            order = order[word[order].argsort(stable=True)]
        new = torch.zeros(count, dtype=torch.bool)
        new[:1] = True
        for word in _words(codes):
            ordered = word[order]
            new[1:] |= ordered[1:] != ordered[:-1]
        places = new.nonzero().flatten()
        # In the order of their first positions, which the stable sorts put at the beginning.
        self.first, rank = order[places].sort()
        self._order, self._starts = order, places[rank]
        self.sizes = torch.diff(places, append=torch.tensor([count]))[rank]
        number = torch.empty_like(rank)
        number[rank] = torch.arange(len(rank))
        self.of = torch.empty(count, dtype=torch.int64)
        self.of[order] = number[new.cumsum(0) - 1]
        self.codes = codes if len(places) == count else codes[self.first]

    def alike(self) -> tuple[Tensor, Tensor]:
        """All pairs of equal codes, positions first < second, (P,) each."""
        places = self._starts[self.sizes > 1]
        sizes = self.sizes[self.sizes > 1]
        ends = (places + sizes).repeat_interleave(sizes)
        inside = torch.arange(len(ends)) - (sizes.cumsum(0) - sizes).repeat_interleave(sizes)
        places = places.repeat_interleave(sizes) + inside
        empty = torch.empty(0, dtype=torch.int64)
        firsts, seconds, step = [empty], [empty], 0
        while len(places):
            step += 1
            kept = places + step < ends
            places, ends = places[kept], ends[kept]
            firsts.append(self._order[places])
            seconds.append(self._order[places + step])
        return torch.cat(firsts), torch.cat(seconds)

    def expanded(
        self, first: Tensor, second: Tensor, distances: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """All pairs of codes that are equal to a pair (P,) of distinct ones, first < second."""
        counts = self.sizes[first] * self.sizes[second]
        if int(counts.sum()) == len(counts):
            return self.first[first], self.first[second], distances
        pair = torch.arange(len(counts)).repeat_interleave(counts)
        place = torch.arange(len(pair)) - (counts.cumsum(0) - counts)[pair]
        size = self.sizes[second][pair]
        mine = self._order[self._starts[first][pair] + place // size]
        theirs = self._order[self._starts[second][pair] + place % size]
        return torch.minimum(mine, theirs), torch.maximum(mine, theirs), distances[pair]


def _words(codes: Tensor) -> list[Tensor]:
    """The columns of the codes as 64-bit integers (N,), the last one filled up with zeros."""
    width = codes.shape[1]
    if width % 8:
        codes = torch.nn.functional.pad(codes, (0, -width % 8))
    return list(codes.contiguous().view(torch.int64).unbind(1))


def _checked(index: Collection, radius: int) -> tuple[Tensor, Tensor | None, int]:
    """Codes and ids of the index, and the radius, at most the bits."""
    if not isinstance(index, Collection):
        raise TypeError(f"index must be a HammingIndex or a MultiIndex, got {type(index).__name__}")
    if index.device.type != "cpu":
        raise ValueError(f"index must be on the CPU, got one on {index.device}")
    store = index._now()
    return store.codes, store.ids, min(check_integer(radius, "radius", 0), index.bits)


def _to_ids(positions: Tensor, ids: Tensor | None) -> Tensor:
    return positions if ids is None else ids[positions]
