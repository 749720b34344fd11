"""What every figure is computed from: checked codes and labels, walked through in blocks."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from ..ops.hamming import hamming_distance, hamming_histogram, hamming_topk
from ..search.codes import as_tensor, check_codes

# Pairs (query, code) held at a time; a pair costs up to 40 bytes on the way to an AP.
_PAIRS = 1 << 22


@dataclass(frozen=True, eq=False)
class Retrieval:
    """Q queries against N database codes. Relevant: same label, or at least one label in common.

    queries uint8 (Q, bytes), database uint8 (N, bytes); labels int64 (Q,) and (N,), or bool (Q, C)
    and (N, C); all on one device.
    """

    queries: Tensor
    database: Tensor
    query_labels: Tensor
    database_labels: Tensor
    bits: int

    @classmethod
    def checked(
        cls, queries: Any, database: Any, query_labels: Any, database_labels: Any, bits: int
    ) -> "Retrieval":
        """From what a caller passed. Raises TypeError or ValueError naming the argument."""
        codes = check_codes(queries, bits, "queries"), check_codes(database, bits, "database")
        if codes[0].device != codes[1].device:
            raise ValueError(
                "queries and database must be on one device, "
                f"got {codes[0].device} and {codes[1].device}"
            )
        if len(codes[0]) == 0:
            raise ValueError("queries must hold at least one code, got none")
        labels = (
            _labels(query_labels, codes[0], "query_labels"),
            _labels(database_labels, codes[1], "database_labels"),
        )
        if labels[0].shape[1:] != labels[1].shape[1:]:
            raise ValueError(
                "query_labels and database_labels must both be (N,) or both (N, C) with one C, "
                f"got {tuple(labels[0].shape)} and {tuple(labels[1].shape)}"
            )
        return cls(*codes, *labels, bits)

    def __len__(self) -> int:
        return self.queries.shape[0]

    @property
    def size(self) -> int:
        """N, the number of database codes."""
        return self.database.shape[0]

    @property
    def multi_label(self) -> bool:
        return self.query_labels.ndim == 2

    @cached_property
    def _by_class(self) -> tuple[Tensor, Tensor]:
        """Database labels in ascending order, and the codes in the same order."""
        labels, order = self.database_labels.sort(stable=True)
        return labels, self.database[order]

    def blocks(self, depth: int | None) -> Iterator["Block"]:
        """All queries in order. depth: how many ranks, up to N, are wanted; None for no ranking."""
        depth = None if depth is None else min(depth, self.size)
        paired = depth is not None or self.multi_label
        step = max(1, _PAIRS // max(1, self.size if paired else 8 * self.queries.shape[1]))
        for start in range(0, len(self), step):
            yield Block(self, slice(start, start + step), depth)

    def each(self, depth: int | None, measure: Callable[["Block"], Tensor]) -> Tensor:
        """`measure` of every block, put together along the queries."""
        return torch.cat([measure(block) for block in self.blocks(depth)])


@dataclass(eq=False)
class Block:
    """Some queries of a retrieval; what is asked of them is computed once."""

    retrieval: Retrieval
    rows: slice
    depth: int | None

    @cached_property
    def queries(self) -> Tensor:
        return self.retrieval.queries[self.rows]

    @cached_property
    def labels(self) -> Tensor:
        return self.retrieval.query_labels[self.rows]

    @cached_property
    def total(self) -> Tensor:
        """Database codes at each distance, int64 (q, bits + 1)."""
        counts = hamming_histogram(self.queries, self.retrieval.database)
        return counts[:, : self.retrieval.bits + 1]

    @cached_property
    def relevant(self) -> Tensor:
        """Relevant database codes at each distance, int64 (q, bits + 1)."""
        counts = self._shared_histogram() if self.retrieval.multi_label else self._class_histogram()
        return counts[:, : self.retrieval.bits + 1]

    @cached_property
    def relevant_count(self) -> Tensor:
        """Relevant database codes of each query, int64 (q,)."""
        if self.retrieval.multi_label:
            return self._shared.sum(1)
        labels, _ = self.retrieval._by_class
        wanted = self.labels.contiguous()
        below = torch.searchsorted(labels, wanted)
        return torch.searchsorted(labels, wanted, right=True) - below

    @cached_property
    def hits(self) -> Tensor:
        """Which of the first `depth` ranks are relevant, ties by database position: bool (q, K)."""
        assert self.depth is not None
        _, order = hamming_topk(self.queries, self.retrieval.database, self.depth)
        if self.retrieval.multi_label:
            return self._shared.gather(1, order)
        return self.retrieval.database_labels[order] == self.labels.unsqueeze(1)

    @cached_property
    def _shared(self) -> Tensor:
        """Whether query and code have a label in common, bool (q, N)."""
        mine, theirs = self.labels.float(), self.retrieval.database_labels.float()
        with torch.autocast(mine.device.type, enabled=False):
            return mine @ theirs.T > 0

    def _shared_histogram(self) -> Tensor:
        distances = hamming_distance(self.queries, self.retrieval.database)
        width = 8 * self.queries.shape[1] + 1
        first = torch.arange(len(distances), device=distances.device).mul_(width).unsqueeze(1)
        bins = (distances + first)[self._shared]
        return torch.bincount(bins, minlength=len(distances) * width).view(-1, width)

    def _class_histogram(self) -> Tensor:
        """Reads 1/C of the pairs: each class of queries meets its own class of codes only."""
        labels, codes = self.retrieval._by_class
        wanted, group = self.labels.unique(return_inverse=True)
        first = torch.searchsorted(labels, wanted).tolist()
        last = torch.searchsorted(labels, wanted, right=True).tolist()
        members = group.sort(stable=True).indices.split(torch.bincount(group).tolist())
        shape = (len(self.labels), 8 * self.queries.shape[1] + 1)
        counts = torch.zeros(shape, dtype=torch.int64, device=self.labels.device)
        for rows, start, stop in zip(members, first, last, strict=True):
            counts[rows] = hamming_histogram(self.queries[rows], codes[start:stop])
        return counts


def _labels(values: Any, codes: Tensor, name: str) -> Tensor:
    labels = as_tensor(values, name)
    multi_hot = labels.ndim == 2 and labels.dtype is torch.bool
    if not multi_hot:
        real = labels.is_floating_point() or labels.is_complex()
        if labels.ndim != 1 or real or labels.dtype is torch.bool:
            raise TypeError(
                f"{name} must be integers (N,) or bool (N, C), "
                f"got {labels.dtype} {tuple(labels.shape)}"
            )
    if len(labels) != len(codes):
        raise ValueError(
            f"{name} must have one row for each of the {len(codes)} codes, got {len(labels)}"
        )
    return labels.to(codes.device, torch.bool if multi_hot else torch.int64)
