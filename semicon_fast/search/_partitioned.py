"""Exact searches over codes in several parts: on several devices, or one block after another."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ..arrays import Array, check_integer, like, writable
from ..codes import check_codes

NO_ID = -1
NO_DISTANCE = 2**31 - 1
# Largest k where the index holds fewer codes. Beyond N, k only adds padding, 12 bytes per query and
# result: 200 MB per query at this bound.
MOST_PADDED = 2**24

Nearest = tuple[Tensor, Tensor]
InRange = tuple[Tensor, Tensor, Tensor]


def padded(values: Tensor, missing: int, value: float) -> Tensor:
    """values (Q, k) -> (Q, k + missing), filled up with `value`."""
    return torch.nn.functional.pad(values, (0, missing), value=value) if missing else values


def merged_nearest(parts: Sequence[Nearest], k: int, *, ascending: bool = False) -> Nearest:
    """Merges sorted partial results: the first k by (distance, id), (Q, k) both.

    Args:
        parts: distances (Q, k_i) and ids (Q, k_i), each sorted by (distance, id); all ids
            different, all tensors on one device.
        k: at most the sum of the k_i.
        ascending: all ids of a part are larger than those of the parts before it.
    """
    near, ids = (torch.cat(tensors, dim=1) for tensors in zip(*parts, strict=True))
    if not ascending:
        ids, order = ids.sort(dim=1)
        near = near.gather(1, order)
    near, order = near.sort(dim=1, stable=True)
    return near[:, :k].contiguous(), ids.gather(1, order[:, :k])


def merged_ranges(parts: Sequence[InRange]) -> InRange:
    """Merges range results (lims, distances, ids), sorted by (distance, id) within a query."""
    lims = torch.stack([part[0] for part in parts]).sum(0)
    near, ids = (torch.cat([part[i] for part in parts]) for i in (1, 2))
    queries = torch.arange(len(lims) - 1, device=lims.device)
    rows = torch.cat([queries.repeat_interleave(part[0].diff()) for part in parts])
    order = ids.argsort()
    for key in (near, rows):
        order = order[key[order].argsort(stable=True)]
    return lims, near[order], ids[order]


class PartitionedSearch:
    """Base class: `HammingIndex`'s search, range_search and rank, over what `_state` returns."""

    @property
    def bits(self) -> int:
        """Length of a code."""
        raise NotImplementedError

    def _state(self, subset: Any) -> Any:
        """The present contents, restricted to `subset` unless None; len() is their number."""
        raise NotImplementedError

    def _nearest(self, state: Any, queries: Tensor, k: int) -> Nearest:
        """Distances and ids (Q, k), k <= len(state), on any device."""
        raise NotImplementedError

    def _in_range(self, state: Any, queries: Tensor, radius: int) -> InRange:
        """Lims, distances and ids, on any device."""
        raise NotImplementedError

    def search(self, queries: Array, k: int, *, subset: Any = None) -> tuple[Array, Array]:
        """The k nearest codes of each query, ascending by (distance, id).

        queries uint8 (Q, bytes); k and subset as in `HammingIndex.search`. Returns distances int32
        (Q, k) and ids int64 (Q, k).
        """
        packed = check_codes(queries, self.bits, "queries")
        state = self._state(subset)
        k = check_integer(k, "k", 1, max(len(state), MOST_PADDED))
        near, ids = self._nearest(state, packed, min(k, len(state)))
        missing = k - near.shape[1]
        found = padded(near, missing, NO_DISTANCE), padded(ids, missing, NO_ID)
        return like(found[0], queries), like(found[1], queries)

    def range_search(
        self, queries: Array, radius: int, *, subset: Any = None
    ) -> tuple[Array, Array, Array]:
        """Every code at distance <= radius, as `HammingIndex.range_search` returns them."""
        packed = check_codes(queries, self.bits, "queries")
        radius = min(check_integer(radius, "radius", 0), self.bits)
        lims, near, ids = self._in_range(self._state(subset), packed, radius)
        return like(lims, queries), like(near, queries), like(ids, queries)

    def rank(
        self, queries: Array, *, subset: Any = None, out: tuple[Array, Array] | None = None
    ) -> tuple[Array, Array]:
        """All codes in order for each query, as `HammingIndex.rank` returns them."""
        packed = check_codes(queries, self.bits, "queries")
        state = self._state(subset)
        found = self._nearest(state, packed, len(state))
        if out is None:
            return like(found[0], queries), like(found[1], queries)
        for array, values in zip(out, found, strict=True):
            target = writable(array)
            if target.shape != values.shape or target.dtype is not values.dtype:
                raise ValueError(
                    f"out must hold {values.dtype} and be {tuple(values.shape)}, "
                    f"got {target.dtype} {tuple(target.shape)}"
                )
            target.copy_(values)
        return out
