"""Search of packed codes in tables, and joins of tables: csrc/tables/tables.h on the CPU.

Without native kernels tables hold nothing, and the answers, which are the same, come from
`reference.hamming` and `reference.tables`.
"""

import heapq
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from .. import native
from ..reference import tables as reference
from .hamming import hamming_range, hamming_topk

# kMaxPieceBits and kMaxAddressBits of csrc/tables/tables.h.
MAX_PIECE_BITS = 64
MAX_ADDRESS_BITS = 28
# Codes from which positions take 8 bytes instead of 4.
WIDE = 2**32


class Piece(NamedTuple):
    """Bits first..first + bits - 1 of a code, which a table has at 2**address_bits addresses."""

    first: int
    bits: int
    address_bits: int


class Step(NamedTuple):
    """Compares the codes whose pieces first..first + bits - 1 differ in `radius` bits."""

    first: int
    bits: int
    radius: int


@dataclass(frozen=True)
class Tables:
    """Tables of N codes by pieces that cover all bits.

    offsets (2**address_bits + 1,) and positions (N,), one of each for a piece, are int32, read as
    unsigned, or int64; both are empty lists without native kernels.
    """

    pieces: tuple[Piece, ...]
    offsets: list[Tensor]
    positions: list[Tensor]

    @property
    def nbytes(self) -> int:
        """Bytes of memory, or of the file that is mapped."""
        return sum(x.nbytes for x in (*self.offsets, *self.positions))

    def operands(self) -> tuple[Any, ...]:
        firsts, bits, address_bits = (list(column) for column in zip(*self.pieces, strict=True))
        return self.offsets, self.positions, firsts, bits, address_bits


def _kernels() -> Any:
    """torch.ops.semicon_fast if its native kernels are used, else None."""
    return torch.ops.semicon_fast if native.load() else None


def build_tables(codes: Tensor, pieces: Sequence[Piece], *, wide: bool | None = None) -> Tables:
    """Tables of codes uint8 (N, bytes) on the CPU; takes 2 bytes per code more while it runs.

    wide: whether positions take 8 bytes; None for where they need it.
    """
    kernels = _kernels()
    built = Tables(tuple(pieces), [], [])
    if kernels is None:
        return built
    for piece in pieces:
        needed = len(codes) >= WIDE if wide is None else wide
        offsets, positions = kernels._tables_build(codes, *piece, needed)
        built.offsets.append(offsets)
        built.positions.append(positions)
    return built


def tables_topk(
    queries: Tensor, codes: Tensor, tables: Tables, k: int, limit: float
) -> tuple[Tensor, Tensor, int]:
    """As `hamming_topk`; and how many queries were answered by a scan.

    limit: lookups and comparisons of a query, about one cache miss each, from which it is scanned.
    """
    kernels = _kernels()
    if kernels is None or not tables.offsets:
        return *hamming_topk(queries, codes, k), len(queries)
    near, where, scanned = kernels._tables_topk(queries, codes, *tables.operands(), k, limit)
    return near, where, scanned


def tables_range(
    queries: Tensor, codes: Tensor, tables: Tables, radius: int, limit: float
) -> tuple[Tensor, Tensor, Tensor, int]:
    """As `hamming_range`; and how many queries were answered by a scan. limit as above."""
    kernels = _kernels()
    if kernels is None or not tables.offsets:
        return *hamming_range(queries, codes, radius), len(queries)
    lims, near, where, scanned = kernels._tables_range(
        queries, codes, *tables.operands(), radius, limit
    )
    return lims, near, where, scanned


def tables_candidates(
    queries: Tensor, codes: Tensor, tables: Tables, candidates: int, k: int
) -> tuple[Tensor, Tensor]:
    """`reference.tables.candidates_topk`: the k nearest of the first `candidates` to be found."""
    kernels = _kernels()
    if kernels is None or not tables.offsets:
        spans = [(piece.first, piece.bits) for piece in tables.pieces]
        return reference.candidates_topk(queries, codes, spans, candidates, k)
    near, where = kernels._tables_candidates(queries, codes, *tables.operands(), candidates, k)
    return near, where


def close_pairs(
    codes: Tensor, steps: Sequence[Step], radius: int, most: int
) -> tuple[Tensor, Tensor, Tensor] | None:
    """`reference.tables.close_pairs` by joins of tables; None if there are more than `most` pairs.

    steps: what finds all pairs, see csrc/tables/tables_pairs.h.
    """
    kernels = _kernels()
    if kernels is None:
        found = reference.close_pairs(codes, radius)
        return found if len(found[0]) <= most else None
    *pairs, all_found = kernels._tables_pairs(codes, *_columns(steps), radius, most)
    return (pairs[0], pairs[1], pairs[2]) if all_found else None


def close_groups(codes: Tensor, steps: Sequence[Step], radius: int) -> Tensor:
    """Connected components of the pairs at distance <= radius: each code's first, int64 (N,)."""
    kernels = _kernels()
    if kernels is None:
        first, second, _ = reference.close_pairs(codes, radius)
        return reference.connected(first, second, len(codes))
    roots: Tensor = kernels._tables_groups(codes, *_columns(steps), radius)
    return roots


def _columns(steps: Sequence[Step]) -> list[list[int]]:
    return [list(column) for column in zip(*steps, strict=True)]


def cost(piece: Piece, radius: int, count: int) -> float:
    """Expected lookups and comparisons at one radius, of `count` codes spread over the table."""
    return math.comb(piece.bits, radius) * (1 + count / 2**piece.address_bits)


def expected_work(pieces: Sequence[Piece], count: int, radius: int) -> float:
    """Expected lookups and comparisons until all codes at distance <= radius have been found.

    The radii are widened in the order of csrc/tables/tables_probe.h: the cheapest first.
    """
    work, found = 0.0, 0
    steps = [(cost(piece, 0, count), t, 0) for t, piece in enumerate(pieces)]
    heapq.heapify(steps)
    while found <= radius and steps[0][2] <= pieces[steps[0][1]].bits:
        least, t, done = steps[0]
        work += least
        found += 1
        heapq.heapreplace(steps, (cost(pieces[t], done + 1, count), t, done + 1))
    return work
