"""Exact search by Hamming distance over codes held in memory or mapped from a file."""

import os
import threading
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..ops.hamming import hamming_range, hamming_topk
from . import _faiss, _file
from ._store import MAX_ID, Store, check_ids, empty_codes
from .codes import (
    Array,
    as_tensor,
    check_bits,
    check_codes,
    check_integer,
    code_bytes,
    like,
    writable,
)

NO_ID = -1
NO_DISTANCE = 2**31 - 1
# Beyond N, k only adds padding, at 12 bytes a query: 200 MB of it are more than anybody wants.
MOST_PADDED = 2**24


class HammingIndex:
    """Packed codes with ids, searched exactly.

    Every result is ascending by (distance, id), on every device, alone or in a batch. Codes are
    uint8 (N, ceil(bits / 8)) as `pack_codes` makes them, bits 1..4096; ids are unique int64 from 0
    to 2**63 - 2. NumPy arrays go in and come out, or tensors, on the device they came from.

    Nothing is changed by a call that raises. Any number of threads may use an index at a time:
    changes come one after another, and a search, a rank or a save sees the codes as they were when
    it began, never half a change. Searching lets other Python threads run.

    Args:
        bits: length of a code.
        device: where the codes are kept and compared.
    """

    def __init__(self, bits: int, device: str | torch.device = "cpu") -> None:
        self._bits = check_bits(bits)
        # Every change makes another Store: whoever took one reads on undisturbed.
        self._store = Store(empty_codes(code_bytes(self._bits), device), None, 0)
        self._changing = threading.Lock()

    @property
    def bits(self) -> int:
        """Length of a code."""
        return self._bits

    @property
    def device(self) -> torch.device:
        """Where the codes are kept and compared."""
        return self._store.codes.device

    def __getstate__(self) -> dict[str, Any]:
        return {"bits": self.bits, "store": self._store.copy()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self._bits, self._store = state["bits"], state["store"]
        self._changing = threading.Lock()

    def __len__(self) -> int:
        return self._store.count

    def __repr__(self) -> str:
        return f"HammingIndex(bits={self.bits}, device={str(self.device)!r}, codes={len(self)})"

    def add(self, codes: Array, ids: Any = None) -> None:
        """Adds codes uint8 (n, bytes) under ids int64 (n,).

        Without ids the codes are numbered on from the largest id that was ever in the index, from
        0 in a new one; a removed id does not come back by itself. Ids above all others are appended
        at the cost of their own number; others at the cost of a copy of the index.

        Raises TypeError or ValueError for codes of another kind or length, and for ids that are
        negative, there already, or given twice.
        """
        packed = check_codes(codes, self.bits, "codes").to(self.device)
        numbers = None if ids is None else check_ids(ids, "ids").to(self.device)
        if numbers is not None and len(numbers) != len(packed):
            raise ValueError(
                f"ids must be one for each of the {len(packed)} codes, got {len(numbers)}"
            )
        with self._changing:
            self._store = self._store.added(packed, numbers, "ids")

    def reserve(self, count: int) -> None:
        """Makes room for `count` codes in all, so that none is moved while they are added.

        Changes nothing else. Without it room grows by half as needed, and while it grows the codes
        are held twice. Raises MemoryError where there is no such room.
        """
        count = check_integer(count, "count", 0, MAX_ID)
        with self._changing:
            try:
                self._store = self._store.reserved(count)
            except RuntimeError as error:
                raise MemoryError(f"count must fit into memory, got {count} codes") from error

    def search(self, queries: Array, k: int, *, subset: Any = None) -> tuple[Array, Array]:
        """The k nearest codes of each query, ascending by (distance, id).

        Args:
            queries: uint8 (Q, bytes).
            k: 1 to the larger of N and 2**24. Where it exceeds what is searched, the rest is
                distance 2**31 - 1, id -1.
            subset: what to search among: ids, each in the index, or a mask, bool (N,) over all
                codes in ascending order of id; its codes are copied for the call. None for all.

        Returns distances int32 (Q, k) and ids int64 (Q, k).
        """
        packed = self._queries(queries)
        store = self._searched(subset)
        k = check_integer(k, "k", 1, max(store.count, MOST_PADDED))
        near, where = hamming_topk(packed, store.codes, min(k, store.count))
        ids = store.to_ids(where)
        if k > store.count:
            missing = (0, k - store.count)
            near = torch.nn.functional.pad(near, missing, value=NO_DISTANCE)
            ids = torch.nn.functional.pad(ids, missing, value=NO_ID)
        return like(near, queries), like(ids, queries)

    def range_search(
        self, queries: Array, radius: int, *, subset: Any = None
    ) -> tuple[Array, Array, Array]:
        """Every code at distance <= radius, ascending by (distance, id) within a query.

        The radius itself is inside; faiss's `range_search` is strict (`distance < radius`), so its
        radius is one more than ours. queries uint8 (Q, bytes), radius >= 0, subset as in `search`.

        Returns lims int64 (Q + 1,), distances int32 (T,), ids int64 (T,): query q's results are the
        entries lims[q] to lims[q + 1].
        """
        packed = self._queries(queries)
        radius = min(check_integer(radius, "radius", 0), self.bits)
        store = self._searched(subset)
        lims, near, where = hamming_range(packed, store.codes, radius)
        ids = store.to_ids(where)
        return like(lims, queries), like(near, queries), like(ids, queries)

    def rank(
        self, queries: Array, *, subset: Any = None, out: tuple[Array, Array] | None = None
    ) -> tuple[Array, Array]:
        """The whole index in order for each query: distances int32 (Q, N), ids int64 (Q, N).

        queries uint8 (Q, bytes), subset as in `search`; N is then what it names. out: contiguous
        arrays or tensors for the two, which are then returned; to rank into the same memory again
        and again takes half the time.
        """
        packed = self._queries(queries)
        store = self._searched(subset)
        if out is None:
            near, where = hamming_topk(packed, store.codes, store.count)
            return like(near, queries), like(store.to_ids(where), queries)
        near, where = (writable(array) for array in out)
        hamming_topk(packed, store.codes, store.count, (near, where))
        where.copy_(store.to_ids(where))
        return out

    def remove_ids(self, ids: Any) -> int:
        """Removes the codes with these ids, int64 (n,), and returns how many that were.

        The others keep their ids (faiss's flat index shifts them). Raises ValueError where an id is
        not in the index.
        """
        numbers = check_ids(ids, "ids").to(self.device)
        with self._changing:
            before = self._store
            self._store = before.without(numbers, "ids")
            return before.count - self._store.count

    def reconstruct(self, ids: Any) -> Any:
        """Codes uint8 (n, bytes) of ids int64 (n,): a tensor if ids are one, else a NumPy array.

        Raises ValueError where an id is not in the index.
        """
        store = self._store
        where = store.positions(check_ids(ids, "ids").to(self.device), "ids")
        return like(store.codes[where], ids)

    def ids(self) -> np.ndarray:
        """All ids, int64 (N,), ascending."""
        return _numbers(self._store).numpy()

    def merge(self, other: "HammingIndex") -> None:
        """Adds every code of `other`, which stays as it is, under its own id.

        Raises TypeError or ValueError where `other` is no index of as many bits, or shares an id.
        """
        if not isinstance(other, HammingIndex):
            raise TypeError(f"merge: other must be a HammingIndex, got {type(other).__name__}")
        if other.bits != self.bits:
            raise ValueError(f"merge: other must have {self.bits} bits, got {other.bits}")
        store = other._store
        codes, numbers = store.codes.to(self.device), _numbers(store).to(self.device)
        with self._changing:
            self._store = self._store.added(codes, numbers, "merge: other's ids")

    def to_faiss(self) -> Any:
        """A faiss index with the same codes: IndexBinaryFlat, in IndexBinaryIDMap2 unless code i
        has id i.

        faiss knows multiples of 8 bits: others are padded with zeros, which changes no distance.
        Ids and distances are the same in both; the order of equal distances is faiss's own there.
        Raises ImportError where faiss is not installed.
        """
        store = self._store
        ids = None if store.ids is None else store.ids.cpu().numpy()
        return _faiss.write(store.codes.cpu().numpy(), ids)

    @classmethod
    def from_faiss(
        cls, index: Any, bits: int | None = None, device: str | torch.device = "cpu"
    ) -> "HammingIndex":
        """The codes and ids of a faiss IndexBinaryFlat, or IndexBinaryIDMap(2) over one, copied.

        Args:
            index: its codes are taken as they are, least significant bit first; `convert_codes`
                brings in others before they are added.
            bits: length of a code where the last byte is padded with zeros; None for `index.d`.
            device: where the codes are kept and compared.

        Raises ImportError where faiss is not installed, TypeError for other kinds of index,
        ValueError where `bits` does not fit or ids are negative or come twice.
        """
        codes, ids = _faiss.read(index)
        result = cls(8 * codes.shape[1] if bits is None else bits, device)
        result.add(codes, ids)
        return result

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes the index to a file (format: `search/_file.py`), beside it first, then renamed.

        Raises OSError, and then leaves what was there.
        """
        _check_path(path)
        store = self._store
        ids = None if store.ids is None else store.ids.cpu().numpy()
        content = _file.Content(self.bits, store.codes.cpu().numpy(), ids, store.next_id)
        _file.write(path, content)

    @classmethod
    def load(
        cls,
        path: str | os.PathLike[str],
        device: str | torch.device = "cpu",
        *,
        verify: bool = False,
    ) -> "HammingIndex":
        """The index that `save` wrote.

        On the CPU the file is mapped, not read: opening takes no time whatever its size, and pages
        come in as they are searched. It is never written to; the first addition copies it. `save`
        never changes a mapped file either; another program that cuts it short ends this process.

        The header has a checksum of its own, and that and the size of the file are always checked:
        what is foreign, newer, cut short or has another header is refused. Codes and ids that
        changed since show only to verify=True, which reads everything once, against its checksum.

        Raises ValueError, with a sentence, for a file that is refused; OSError where it cannot be
        opened.
        """
        _check_path(path)
        content = _file.read(path, verify=verify)
        index = cls(content.bits, device)
        codes = as_tensor(content.codes, "codes").to(index.device)
        ids = None if content.ids is None else as_tensor(content.ids, "ids").to(index.device)
        index._store = Store(codes, ids, content.next_id)
        return index

    def _queries(self, queries: Array) -> Tensor:
        return check_codes(queries, self.bits, "queries").to(self.device)

    def _searched(self, subset: Any) -> Store:
        """The codes of now, or those of them that `subset` names."""
        store = self._store
        if subset is None:
            return store
        chosen = store.selected(subset, "subset")
        return Store(store.codes[chosen], store.to_ids(chosen), store.next_id)


def _numbers(store: Store) -> Tensor:
    return torch.arange(store.count) if store.ids is None else store.ids.cpu().clone()


def _check_path(path: Any) -> None:
    """open() would take an integer for a file that is open already."""
    if not isinstance(path, (str, os.PathLike)):
        raise TypeError(f"path must be a string or a path, got {type(path).__name__}")
