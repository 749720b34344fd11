"""Searches on a device over codes that stay in host memory."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from ..arrays import check_integer
from ..codes import code_bytes
from ..ops.hamming import hamming_range, hamming_topk
from ._blocks import blocks_on
from ._collection import Collection
from ._partitioned import InRange, Nearest, PartitionedSearch, merged_nearest, merged_ranges
from ._store import Store, empty_codes


class StreamedIndex(PartitionedSearch):
    """Searches on `device` over an index stored elsewhere; returned by `HammingIndex.streamed`.

    Each search copies the codes to the device block by block, copying the next block while one is
    searched, and merges the results; they equal those of the index itself. This pays for large
    batches of queries, or if the codes do not fit into the device's memory. Codes in pinned memory
    (`HammingIndex.pin_memory`) are copied directly; others, including a memory-mapped file's, are
    copied through a pinned buffer.

    A search sees the index as it is when the search begins. To add or remove codes, use the index.
    """

    def __init__(self, index: Collection, device: str | torch.device, memory: int) -> None:
        self._index = index
        self.device = empty_codes(code_bytes(index.bits), device).device
        self.memory = check_integer(memory, "memory", 2 * code_bytes(index.bits))

    @property
    def bits(self) -> int:
        """Length of a code."""
        return self._index.bits

    def __len__(self) -> int:
        return len(self._index)

    def __repr__(self) -> str:
        return f"StreamedIndex({self._index!r}, device={str(self.device)!r}, memory={self.memory})"

    def _state(self, subset: Any) -> Store:
        return self._index._searched(subset)

    def _blocks(self, store: Store, queries: Tensor) -> Iterator[tuple[int, Tensor, Tensor]]:
        """Yields (first position, queries, codes), on the device; one empty block without codes."""
        asked = queries.to(self.device)
        if not len(store):
            yield 0, asked, store.codes.to(self.device)
        rows = self.memory // (2 * store.codes.shape[1])
        for first, codes in blocks_on(store.codes, self.device, rows):
            yield first, asked, codes

    def _nearest(self, store: Store, queries: Tensor, k: int) -> Nearest:
        best: Nearest | None = None
        for first, asked, codes in self._blocks(store, queries):
            near, where = hamming_topk(asked, codes, min(k, len(codes)))
            found = near, where + first
            best = found if best is None else merged_nearest([best, found], k, ascending=True)
        assert best is not None
        return best[0], self._ids(store, best[1])

    def _in_range(self, store: Store, queries: Tensor, radius: int) -> InRange:
        found = []
        for first, asked, codes in self._blocks(store, queries):
            lims, near, where = hamming_range(asked, codes, radius)
            found.append((lims, near, where + first))
        lims, near, where = merged_ranges(found)
        return lims, near, self._ids(store, where)

    def _ids(self, store: Store, where: Tensor) -> Tensor:
        """Ids of positions. Ids are not copied to `device`: they may be larger than the codes."""
        return where if store.ids is None else store.to_ids(where.to(store.codes.device))
