"""Exact search by Hamming distance over codes held in memory or mapped from a file."""

import os
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..ops.hamming import hamming_range, hamming_topk
from . import _file
from ._store import Store, check_ids
from .codes import Array, as_tensor, check_bits, check_codes, check_integer, code_bytes, like

NO_ID = -1
NO_DISTANCE = 2**31 - 1


class HammingIndex:
    """Packed codes with ids, searched exactly.

    Every result is ascending by (distance, id), on every device, alone or in a batch. Codes are
    uint8 (N, ceil(bits / 8)) as `pack_codes` makes them, bits 1..4096; ids are unique int64 from 0
    to 2**63 - 2. NumPy arrays go in and come out, or tensors, on the device they came from.

    Nothing is changed by a call that raises. Any number of threads may search at a time; adding and
    removing is for one thread alone.

    Args:
        bits: length of a code.
        device: where the codes are kept and compared.
    """

    def __init__(self, bits: int, device: str | torch.device = "cpu") -> None:
        self._bits = check_bits(bits)
        self._device = torch.device(device)
        empty = torch.empty(0, code_bytes(self._bits), dtype=torch.uint8, device=self._device)
        self._store = Store(empty)

    @property
    def bits(self) -> int:
        """Length of a code."""
        return self._bits

    @property
    def device(self) -> torch.device:
        """Where the codes are kept and compared."""
        return self._store.codes.device

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
        self._store.add(packed, numbers, "ids")

    def search(self, queries: Array, k: int, *, subset: Any = None) -> tuple[Array, Array]:
        """The k nearest codes of each query, ascending by (distance, id).

        Args:
            queries: uint8 (Q, bytes).
            k: at least 1. Where it exceeds what is searched, the rest is distance 2**31 - 1, id -1.
            subset: ids to search among, each in the index; None for all.

        Returns distances int32 (Q, k) and ids int64 (Q, k).
        """
        packed = self._queries(queries)
        k = check_integer(k, "k", 1)
        codes, chosen = self._store.codes, None
        if subset is not None:
            ids = check_ids(subset, "subset").to(self.device)
            chosen = self._store.positions(ids, "subset").unique()
            codes = codes[chosen]
        near, where = hamming_topk(packed, codes, min(k, len(codes)))
        ids = self._store.to_ids(where if chosen is None else chosen[where])
        missing = (0, k - near.shape[1])
        near = torch.nn.functional.pad(near, missing, value=NO_DISTANCE)
        ids = torch.nn.functional.pad(ids, missing, value=NO_ID)
        return like(near, queries), like(ids, queries)

    def range_search(self, queries: Array, radius: int) -> tuple[Array, Array, Array]:
        """Every code at distance <= radius, ascending by (distance, id) within a query.

        The radius itself is inside; faiss's `range_search` is strict (`distance < radius`), so its
        radius is one more than ours. queries uint8 (Q, bytes), radius >= 0.

        Returns lims int64 (Q + 1,), distances int32 (T,), ids int64 (T,): query q's results are the
        entries lims[q] to lims[q + 1].
        """
        packed = self._queries(queries)
        radius = min(check_integer(radius, "radius", 0), self.bits)
        lims, near, where = hamming_range(packed, self._store.codes, radius)
        ids = self._store.to_ids(where)
        return like(lims, queries), like(near, queries), like(ids, queries)

    def rank(self, queries: Array) -> tuple[Array, Array]:
        """The whole index in order for each query: distances int32 (Q, N), ids int64 (Q, N)."""
        near, where = hamming_topk(self._queries(queries), self._store.codes, len(self))
        return like(near, queries), like(self._store.to_ids(where), queries)

    def remove_ids(self, ids: Any) -> int:
        """Removes the codes with these ids, int64 (n,), and returns how many that were.

        The others keep their ids (faiss's flat index shifts them). Raises ValueError where an id is
        not in the index.
        """
        return self._store.remove(check_ids(ids, "ids").to(self.device), "ids")

    def reconstruct(self, ids: Any) -> Any:
        """Codes uint8 (n, bytes) of ids int64 (n,): a tensor if ids are one, else a NumPy array.

        Raises ValueError where an id is not in the index.
        """
        where = self._store.positions(check_ids(ids, "ids").to(self.device), "ids")
        return like(self._store.codes[where], ids)

    def ids(self) -> np.ndarray:
        """All ids, int64 (N,), ascending."""
        ids = self._store.ids
        numbers = torch.arange(len(self)) if ids is None else ids.cpu().clone()
        return numbers.numpy()

    def merge(self, other: "HammingIndex") -> None:
        """Adds every code of `other`, which stays as it is, under its own id.

        Raises TypeError or ValueError where `other` is no index of as many bits, or shares an id.
        """
        if not isinstance(other, HammingIndex):
            raise TypeError(f"merge: other must be a HammingIndex, got {type(other).__name__}")
        if other.bits != self.bits:
            raise ValueError(f"merge: other must have {self.bits} bits, got {other.bits}")
        numbers = torch.from_numpy(other.ids()).to(self.device)
        self._store.add(other._store.codes.to(self.device), numbers, "merge: other's ids")

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes the index to a file (format: `search/_file.py`), beside it first, then renamed.

        Raises OSError, and then leaves what was there.
        """
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
        come in as they are searched. It is never written to; the first addition copies it. The
        header is always checked; verify=True also reads everything and checks its checksum.

        Raises ValueError, with a sentence, for a file that is foreign, newer, cut short or damaged.
        """
        content = _file.read(path, verify=verify)
        index = cls(content.bits, device)
        codes = as_tensor(content.codes, "codes").to(index._device)
        ids = None if content.ids is None else as_tensor(content.ids, "ids").to(index._device)
        index._store = Store(codes, ids, content.next_id)
        return index

    def _queries(self, queries: Array) -> Tensor:
        return check_codes(queries, self.bits, "queries").to(self.device)
