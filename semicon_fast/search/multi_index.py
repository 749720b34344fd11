"""Exact search by multi-index hashing, and the published protocol of search in hash tables."""

import os
from typing import Any

from torch import Tensor

from ..arrays import Array, check_integer, like
from ..ops.hamming import hamming_range, hamming_topk
from ..ops.tables import tables_candidates
from . import _multi_file
from ._collection import Collection
from ._partitioned import MOST_PADDED, NO_DISTANCE, NO_ID, padded
from ._store import Store
from ._tables import CodeTables, TableSizes

# Codes outside the tables, which are scanned, up to this share of those in them.
_SHARE_SCANNED = 1 / 8


class MultiIndex(Collection):
    """Packed codes with ids in several hash tables, searched exactly, on the CPU.

    Multi-index hashing (Norouzi, Punjani and Fleet, TPAMI 2014): each table has the codes by some
    of their bits, and is looked up for the query's bits and for all that differ from them in 1, 2,
    ... bits. A search ends when no code that has not been found can be nearer (pigeonhole
    principle), or goes on as a scan where that takes less work. So it is sublinear for few queries
    at 10**8 codes and more, for small radii, and for short codes; elsewhere `HammingIndex` is
    faster and needs no tables. Contents, results and their order, and the guarantees for threads,
    copies and pickles are those of a `HammingIndex`.

    Tables are built at the first search, or by `build`, and again when the codes outside of them
    are more than an eighth of those in them, or after a removal. They take 4 bytes for each code
    and table (8 from 2**32 codes on) and 4 bytes for each address: `nbytes` in all. A table of up
    to 16 bits, or of log2(N) if that is more, up to 28, has an address for each value of its bits;
    a longer one hashes them to as many bits.

    Args:
        bits: length of a code.
        tables: number of tables, which divide the bits evenly; None for what suits the number of
            codes.
        bits_per_table: the most bits of a table, up to 64; None likewise.

    Raises TypeError or ValueError if the tables do not cover the bits.
    """

    def __init__(
        self, bits: int, tables: int | None = None, bits_per_table: int | None = None
    ) -> None:
        super().__init__(bits)
        self._sizes = TableSizes(self.bits, tables, bits_per_table)

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "sizes": self._sizes}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self._sizes = state["sizes"]

    def __repr__(self) -> str:
        return f"MultiIndex(bits={self.bits}, tables={len(self.bits_of_tables)}, codes={len(self)})"

    @property
    def bits_of_tables(self) -> list[int]:
        """Number of bits of each table: of the present tables, else of those to be built."""
        tables = self._store.tables
        pieces = self._sizes.pieces(len(self)) if tables is None else tables.tables.pieces
        return [piece.bits for piece in pieces]

    @property
    def nbytes(self) -> int:
        """Bytes of codes, ids and tables, in memory or mapped from a file."""
        store = self._store
        own = store.codes.nbytes + (0 if store.ids is None else store.ids.nbytes)
        return own + (0 if store.tables is None else store.tables.nbytes)

    def build(self) -> None:
        """Builds the tables of all codes, unless there are some already."""
        self._covered(0)

    def search(
        self,
        queries: Array,
        k: int,
        *,
        subset: Any = None,
        candidates: int | None = None,
        exact: bool = True,
    ) -> tuple[Array, Array]:
        """The k nearest codes of each query, ascending by (distance, id).

        Args:
            queries: uint8 (Q, bytes).
            k: as in `HammingIndex.search`: results are padded with distance 2**31 - 1 and id -1.
            subset: the codes to search, as in `HammingIndex.search`; they are scanned.
            candidates: with exact=False, how many codes the tables are asked for, at least k; None
                for k. Exact results do not depend on it.
            exact: False for the published protocol of search in tables ("top N by lookup"): all
                tables are looked up at radius 0, 1, ... until N = candidates codes are found, of
                which the first by (radius, distance, id) count; the result is the k nearest of
                them. It depends on the tables, which with `tables` and `bits_per_table` None change
                with the number of codes, and on nothing else.

        Returns distances int32 (Q, k) and ids int64 (Q, k), of the kind of `queries`. Raises
        TypeError or ValueError naming the argument.
        """
        packed = self._queries(queries)
        store = self._now()
        k = check_integer(k, "k", 1, max(store.count, MOST_PADDED))
        if not isinstance(exact, bool):
            raise TypeError(f"exact must be True or False, got {exact!r}")
        if candidates is not None:
            candidates = check_integer(candidates, "candidates", k)
        if subset is not None:
            if not exact:
                raise ValueError("subset must be None with exact=False, which searches all codes")
            store = store.narrowed(subset, "subset")
        found = min(k, store.count)
        if subset is not None or not store.count:
            near, where = hamming_topk(packed, store.codes, found)
        elif exact:
            store, tables = self._covered(_SHARE_SCANNED)
            found = min(k, store.count)
            near, where = tables.nearest(
                packed, store.codes, found, tables.usual_limit(packed.shape[1])
            )
        else:
            store, tables = self._covered(0)
            found = min(k, store.count)
            most = min(candidates or found, store.count)
            near, where = tables_candidates(packed, store.codes, tables.tables, most, found)
        missing = k - found
        distances, ids = padded(near, missing, NO_DISTANCE), store.to_ids(where)
        return like(distances, queries), like(padded(ids, missing, NO_ID), queries)

    def range_search(
        self, queries: Array, radius: int, *, subset: Any = None
    ) -> tuple[Array, Array, Array]:
        """Every code at distance <= radius, as `HammingIndex.range_search` returns them."""
        packed = self._queries(queries)
        radius = min(check_integer(radius, "radius", 0), self.bits)
        store = self._searched(subset)
        if subset is not None or not store.count:
            lims, near, where = hamming_range(packed, store.codes, radius)
        else:
            store, tables = self._covered(_SHARE_SCANNED)
            lims, near, where = tables.in_range(
                packed, store.codes, radius, tables.usual_limit(packed.shape[1])
            )
        ids = store.to_ids(where)
        return like(lims, queries), like(near, queries), like(ids, queries)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes codes, ids and tables to a file (format: `search/_multi_file.py`), atomically.

        Builds the tables first if codes are outside of them. Raises OSError, and then an existing
        file is unchanged.
        """
        _multi_file.check_path(path)
        store, tables = self._covered(0)
        _multi_file.write(path, self.bits, store, tables, self._sizes)

    @classmethod
    def load(cls, path: str | os.PathLike[str], *, verify: bool = False) -> "MultiIndex":
        """Opens an index written by `save`, memory-mapped: in no time, whatever its size.

        Codes that are added stay outside of the mapped tables until those are built again. What is
        checked and refused is as for `HammingIndex.load`. A damaged table can make results wrong or
        incomplete, unless verify=True finds it.

        Raises ValueError if the file is rejected, OSError if it cannot be opened.
        """
        bits, sizes, store = _multi_file.read(path, verify=verify)
        index = cls(bits, sizes.tables, sizes.bits_per_table)
        index._store = store
        return index

    def _covered(self, share: float) -> tuple[Store, CodeTables]:
        """The present contents with tables outside of which are at most this share of the codes."""
        store = self._now()
        if (tables := _enough(store, share)) is not None:
            return store, tables
        with self._changing:
            store = self._now()
            tables = _enough(store, share)
            if tables is None:
                tables = store.tables = CodeTables.of(store.codes, self._sizes)
            return store, tables

    def _queries(self, queries: Array) -> Tensor:
        return super()._queries(queries).contiguous()


def _enough(store: Store, share: float) -> CodeTables | None:
    """The tables of a store, unless more than `share` of the codes in them are outside of them."""
    tables = store.tables
    if tables is None or store.count - tables.count > share * tables.count:
        return None
    return tables
