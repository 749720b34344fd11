"""The tables of an index: which pieces they have, and searches in the codes that they hold."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from ..arrays import check_choice, check_integer
from ..ops._costs import lookup_ns, scan_ns
from ..ops.hamming import hamming_range, hamming_topk
from ..ops.tables import (
    MAX_ADDRESS_BITS,
    MAX_PIECE_BITS,
    Piece,
    Tables,
    build_tables,
    expected_work,
    tables_range,
    tables_topk,
)
from ._partitioned import InRange, Nearest, merged_nearest, merged_ranges
from ._store import Store

METHODS = ("auto", "scan", "tables")

_DIRECT = 16
# Neighbours, uniform codes assumed, for which the number of tables is chosen; and the largest share
# of the bits that their distance may be, beyond which a scan wins anyway.
_WANTED = 10
_LARGEST_SHARE = 1 / 6
# A lookup or comparison takes about as long as a scan takes for so many words of codes.
_WORDS_A_LOOKUP = 16
# Lookups that take as long as the scan of a few codes.
_SMALL_SCAN = 1024
# Share of a scan's time from which a search in tables gives up: what is lost if it does, and what
# is risked to be lost if it would have ended soon.
_WORTH_TRYING = 0.8


@dataclass(frozen=True)
class TableSizes:
    """How the bits of a code are divided into tables; None is chosen by the number of codes."""

    bits: int
    tables: int | None = None
    bits_per_table: int | None = None

    def __post_init__(self) -> None:
        for name in ("tables", "bits_per_table"):
            if (value := getattr(self, name)) is not None:
                check_integer(value, name, 1, self.bits)
        width = self.bits_per_table
        if width is not None and width > MAX_PIECE_BITS:
            raise ValueError(f"bits_per_table must be at most {MAX_PIECE_BITS}, got {width}")
        if self.tables is None:
            return
        needed = -(-self.bits // (width or MAX_PIECE_BITS))
        if self.tables < needed:
            of = f"tables of {width} bits" if width else f"tables of at most {MAX_PIECE_BITS} bits"
            raise ValueError(
                f"tables must be at least {needed}, so that {of} cover all {self.bits} bits, "
                f"got {self.tables}"
            )

    def pieces(self, count: int) -> tuple[Piece, ...]:
        """The pieces for `count` codes: as even as possible, longer ones first."""
        if self.tables is not None:
            return even_pieces(self.bits, self.tables, count)
        if self.bits_per_table is not None:
            return even_pieces(self.bits, -(-self.bits // self.bits_per_table), count)
        least = -(-self.bits // MAX_PIECE_BITS)
        near = self.bits / max(math.log2(max(count, 1)), _DIRECT)
        few, many = max(least, int(near) - 1), max(least, math.ceil(near) + 1)
        radius = min(_distance(self.bits, count), int(self.bits * _LARGEST_SHARE) + 1)
        choices = [even_pieces(self.bits, t, count) for t in range(few, min(many, self.bits) + 1)]
        return min(choices, key=lambda pieces: expected_work(pieces, count, radius))


def even_pieces(bits: int, tables: int, count: int) -> tuple[Piece, ...]:
    """All bits in `tables` pieces, for `count` codes.

    A piece of up to 16 bits, or of up to log2(count) if that is more, is its own address, so that
    offsets take no more memory than positions or 256 KiB; a longer one is hashed to as many bits.
    """
    most = min(max(_DIRECT, count.bit_length() - 1), MAX_ADDRESS_BITS)
    width, longer = divmod(bits, tables)
    pieces, first = [], 0
    for t in range(tables):
        size = width + (t < longer)
        pieces.append(Piece(first, size, min(size, most)))
        first += size
    return tuple(pieces)


def _distance(bits: int, count: int) -> int:
    """The distance within which uniform codes have some _WANTED of `count` codes."""
    wanted, within = _WANTED / max(count, 1), 0
    for distance in range(bits + 1):
        within += math.comb(bits, distance)
        if within / 2**bits >= wanted:
            return distance
    return bits


class CodeTables:
    """Tables of the first `count` codes of a store; codes added behind them are scanned."""

    def __init__(self, tables: Tables, count: int) -> None:
        self.tables, self.count = tables, count

    @classmethod
    def of(cls, codes: Tensor, sizes: TableSizes) -> "CodeTables":
        return cls(build_tables(codes, sizes.pieces(len(codes))), len(codes))

    @property
    def nbytes(self) -> int:
        return self.tables.nbytes

    @property
    def hold_codes(self) -> bool:
        """Whether they were built: without native kernels they are not, and every search scans."""
        return bool(self.tables.offsets)

    def nearest(self, queries: Tensor, codes: Tensor, k: int, limit: float) -> Nearest:
        """As `hamming_topk`."""
        mine, others = codes[: self.count], codes[self.count :]
        near, where, _ = tables_topk(queries, mine, self.tables, min(k, len(mine)), limit)
        if not len(others):
            return near, where
        far, behind = hamming_topk(queries, others, min(k, len(others)))
        parts = [(near, where), (far, behind + self.count)]
        return merged_nearest(parts, k, ascending=True)

    def in_range(self, queries: Tensor, codes: Tensor, radius: int, limit: float) -> InRange:
        """As `hamming_range`."""
        mine, others = codes[: self.count], codes[self.count :]
        lims, near, where, _ = tables_range(queries, mine, self.tables, radius, limit)
        if not len(others):
            return lims, near, where
        far = hamming_range(queries, others, radius)
        return merged_ranges([(lims, near, where), (*far[:2], far[2] + self.count)])

    def usual_limit(self, width: int) -> float:
        """Work of a query from which it is scanned, when tables are asked for: about a scan's."""
        return _SMALL_SCAN + self.count * -(-width // 8) / _WORDS_A_LOOKUP

    def limit(self, queries: int, width: int) -> float:
        """Work of a query from which it is scanned, by what this machine needs for both."""
        together = min(queries, torch.get_num_threads()) or 1
        scan = scan_ns(queries, self.count, width) * together / max(queries, 1)
        return _WORTH_TRYING * scan / lookup_ns()


def chosen_tables(
    store: Store, queries: Tensor, method: str, possible: bool
) -> tuple[CodeTables, float] | None:
    """The tables to search in, and the work of a query from which it is scanned; None for a scan.

    possible: whether the search is one by tables: of all codes, by plain distances. Raises
    ValueError for other methods, and where `method` is "tables" and there are none.
    """
    check_choice(method, METHODS, "method")
    tables = store.tables
    if method == "tables":
        if not possible:
            raise ValueError("method must be auto or scan with subset or weights, got 'tables'")
        if tables is None:
            raise ValueError("method must be auto or scan without tables; see build_tables")
        return tables, tables.usual_limit(queries.shape[1])
    if method == "scan" or tables is None or not possible or not tables.hold_codes:
        return None
    return tables, tables.limit(len(queries), queries.shape[1])


def measure_costs() -> None:
    """Measures what searches cost, unless that has been done on this machine."""
    lookup_ns()
