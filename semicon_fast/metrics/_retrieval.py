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
from ..reference.hamming import unpack_bits
from ._labels import check_labels

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
    (N, C); exclude int64 (Q,), the database row that a query's ranking leaves out, -1 for none, or
    None for none at all; all on one device.
    """

    queries: Tensor
    database: Tensor
    query_labels: Tensor
    database_labels: Tensor
    bits: int
    exclude: Tensor | None = None

    @classmethod
    def checked(
        cls,
        queries: Any,
        database: Any,
        query_labels: Any,
        database_labels: Any,
        bits: int,
        exclude: Any = None,
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
        labels = check_labels(query_labels, database_labels, *codes)
        return cls(*codes, *labels, bits, _exclude(exclude, *codes))

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


class LeftOut(NamedTuple):
    """The database rows that the rankings of a block leave out, one for each of u of its queries.

    queries int64 (u,): positions in the block, ascending. rows int64 (u,): database rows. distances
    int64 (u,): between the two. relevant bool (u,): whether the row is relevant to the query.
    """

    queries: Tensor
    rows: Tensor
    distances: Tensor
    relevant: Tensor


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
        """Histogram of the distances to all searched codes, int64 (q, bits + 1)."""
        counts = hamming_histogram(self.queries, self.retrieval.database)
        if (out := self._left_out) is not None:
            counts[out.queries, out.distances] -= 1
        return counts[:, : self.retrieval.bits + 1]

    @cached_property
    def relevant(self) -> Tensor:
        """Histogram of the distances to the relevant searched codes, int64 (q, bits + 1)."""
        counts = hamming_group_histogram(self.queries, self.retrieval.database, *self._groups)
        if (out := self._left_out) is not None:
            counts[out.queries, out.distances] -= out.relevant.long()
        return counts[:, : self.retrieval.bits + 1]

    @cached_property
    def searched_count(self) -> Tensor:
        """Number of searched codes of each query, int64 (q,)."""
        counts = self.queries.new_full((len(self.queries),), self.retrieval.size, dtype=torch.int64)
        if (out := self._left_out) is not None:
            counts[out.queries] -= 1
        return counts

    @cached_property
    def relevant_count(self) -> Tensor:
        """Number of relevant searched codes of each query, int64 (q,)."""
        counts = self._groups.lims.diff()[self._groups.of]
        if (out := self._left_out) is not None:
            counts[out.queries] -= out.relevant.long()
        return counts

    @cached_property
    def ranks(self) -> Tensor:
        """Ranks, from 1, of the relevant codes, ties broken by database position: int64 (T,).

        Query after query: `relevant_count` ranks each, ascending. Of a query that leaves a row out
        the ranks are those among the other rows.
        """
        ranks = hamming_ranks(self.queries, self.retrieval.database, *self._groups)
        if (out := self._left_out) is None:
            return ranks
        each = torch.arange(len(out.rows) + 1, device=ranks.device)
        rank_of_row = hamming_ranks(
            self.queries[out.queries], self.retrieval.database, each[:-1], out.rows, each
        )
        limit = ranks.new_full((len(self.queries),), self.retrieval.size + 1)
        limit[out.queries] = rank_of_row
        sizes = self._groups.lims.diff()[self._groups.of]
        limit = limit.repeat_interleave(sizes, output_size=len(ranks))
        kept = ranks != limit
        return ranks[kept] - (ranks > limit)[kept].long()

    @cached_property
    def _left_out(self) -> LeftOut | None:
        if self.retrieval.exclude is None:
            return None
        excluded = self.retrieval.exclude[self.rows]
        queries = (excluded >= 0).nonzero().flatten()
        rows = excluded[queries]
        differing = self.queries[queries] ^ self.retrieval.database[rows]
        mine = self.retrieval.query_labels[self.rows][queries]
        theirs = self.retrieval.database_labels[rows]
        shared = (mine & theirs).any(1) if self.retrieval.multi_label else mine == theirs
        return LeftOut(queries, rows, unpack_bits(differing).sum(1, dtype=torch.int64), shared)

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


def _exclude(values: Any, queries: Tensor, database: Tensor) -> Tensor | None:
    if values is None:
        return None
    rows = as_tensor(values, "exclude")
    if rows.is_floating_point() or rows.is_complex() or rows.dtype is torch.bool:
        raise TypeError(f"exclude must be integers, got {rows.dtype}")
    if rows.shape != (len(queries),):
        raise ValueError(
            f"exclude must be ({len(queries)},), a database row or -1 for each query, "
            f"got {tuple(rows.shape)}"
        )
    if not -1 <= int(rows.min()) <= int(rows.max()) < len(database):
        raise ValueError(
            f"exclude must lie in -1..{len(database) - 1}, got {int(rows.min())}..{int(rows.max())}"
        )
    return rows.to(queries.device, torch.int64)
