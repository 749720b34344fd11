"""The input of all retrieval metrics: checked codes and labels, iterated in blocks of queries."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ..arrays import as_tensor
from ..codes import check_codes
from ..ops.hamming import hamming_group_histogram, hamming_histogram, hamming_ranks

# Relevant pairs (query, code) held at a time; computing AP needs up to 40 bytes for each.
_PAIRS = 1 << 22
# Entries of a block's histograms, so that everything computed from them stays in cache.
_BINS = 1 << 18
# On a device both are this many times as large, since each block costs tens of small kernel
# launches and a few synchronisations.
_ON_DEVICE = 8


@dataclass(frozen=True, eq=False)
class Retrieval:
    """Q queries and N database codes with their labels.

    A code is relevant to a query with the same label, or with at least one label in common. queries
    uint8 (Q, bytes), database uint8 (N, bytes); labels int64 (Q,) and (N,), or bool (Q, C) and
    (N, C); all on one device.
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
        """Checks and converts a caller's arguments. Raises TypeError or ValueError naming one."""
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
    def by_class(self) -> "Groups":
        """For single labels: the database positions of each class, and a last, empty group."""
        labels, order = self.database_labels.sort(stable=True)
        classes, sizes = labels.unique_consecutive(return_counts=True)
        lims = torch.cat([sizes.new_zeros(1), sizes.cumsum(0), sizes.sum().view(1)])
        nearest = torch.searchsorted(classes, self.query_labels.contiguous())
        known = nearest < len(classes)
        known[known.clone()] = classes[nearest[known]] == self.query_labels[known]
        return Groups(torch.where(known, nearest, len(classes)), order, lims)

    def blocks(self) -> Iterator["Block"]:
        """All queries in order, in blocks of bounded memory."""
        relevant = self.size if self.multi_label else int(self.by_class.lims.diff().max())
        width = 8 * self.queries.shape[1] + 1
        more = 1 if self.queries.device.type == "cpu" else _ON_DEVICE
        step = max(1, min(more * _BINS // width, more * _PAIRS // max(1, relevant)))
        for start in range(0, len(self), step):
            yield Block(self, slice(start, start + step))

    def each(self, measure: Callable[["Block"], Tensor]) -> Tensor:
        """Concatenates `measure(block)`, (q, ...), over all blocks: (Q, ...)."""
        return torch.cat([measure(block) for block in self.blocks()])


class Groups(NamedTuple):
    """Each query's relevant codes: members[lims[g]] to members[lims[g + 1] - 1], g = of[query]."""

    of: Tensor
    members: Tensor
    lims: Tensor


@dataclass(eq=False)
class Block:
    """Consecutive queries of a retrieval; every property is computed at most once."""

    retrieval: Retrieval
    rows: slice

    @cached_property
    def queries(self) -> Tensor:
        return self.retrieval.queries[self.rows]

    @cached_property
    def total(self) -> Tensor:
        """Histogram of the distances to all database codes, int64 (q, bits + 1)."""
        counts = hamming_histogram(self.queries, self.retrieval.database)
        return counts[:, : self.retrieval.bits + 1]

    @cached_property
    def relevant(self) -> Tensor:
        """Histogram of the distances to the relevant database codes, int64 (q, bits + 1)."""
        counts = hamming_group_histogram(self.queries, self.retrieval.database, *self._groups)
        return counts[:, : self.retrieval.bits + 1]

    @cached_property
    def relevant_count(self) -> Tensor:
        """Number of relevant database codes of each query, int64 (q,)."""
        return self._groups.lims.diff()[self._groups.of]

    @cached_property
    def ranks(self) -> Tensor:
        """Ranks, from 1, of the relevant codes, ties broken by database position: int64 (T,).

        Query after query: `relevant_count` ranks each, ascending.
        """
        return hamming_ranks(self.queries, self.retrieval.database, *self._groups)

    @cached_property
    def _groups(self) -> Groups:
        if not self.retrieval.multi_label:
            every = self.retrieval.by_class
            return every._replace(of=every.of[self.rows])
        mine = self.retrieval.query_labels[self.rows].float()
        with torch.autocast(mine.device.type, enabled=False):
            shared = mine @ self.retrieval.database_labels.float().T > 0
        sizes = shared.sum(1)
        lims = torch.cat([sizes.new_zeros(1), sizes.cumsum(0)])
        return Groups(torch.arange(len(sizes), device=sizes.device), shared.nonzero()[:, 1], lims)


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
