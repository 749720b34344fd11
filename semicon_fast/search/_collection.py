"""The contents of an index: codes with ids, and groups of bits. `index` adds the searches."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..arrays import Array, check_integer, like
from ..codes import check_bits, check_codes, code_bytes
from ..forks import Lock
from ._store import MAX_ID, Store, check_ids, check_removed, empty_codes
from .bit_groups import BitGroups, bit_positions


class Collection:
    """Base class of `HammingIndex`; see there."""

    def __init__(
        self,
        bits: int,
        device: str | torch.device = "cpu",
        bit_groups: BitGroups | None = None,
    ) -> None:
        self._bits = check_bits(bits)
        self.bit_groups = bit_groups
        # Every change makes a new Store, so searches continue on the one that they started with.
        self._store = Store(empty_codes(code_bytes(self._bits), device), None, 0)
        self._changing = Lock()

    @property
    def bits(self) -> int:
        """Length of a code."""
        return self._bits

    @property
    def device(self) -> torch.device:
        """Where the codes are kept and compared."""
        return self._store.codes.device

    @property
    def bit_groups(self) -> BitGroups | None:
        """Name of each part -> its bits, or None. Can be assigned."""
        return self._bit_groups

    @bit_groups.setter
    def bit_groups(self, groups: BitGroups | None) -> None:
        self._parts = None if groups is None else bit_positions(groups, self.bits, all_bits=True)
        self._bit_groups = None if groups is None else dict(groups)

    def __getstate__(self) -> dict[str, Any]:
        return {"bits": self.bits, "store": self._now().sealed(), "bit_groups": self._bit_groups}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self._bits, self._store = state["bits"], state["store"]
        self.bit_groups = state.get("bit_groups")
        self._changing = Lock()

    def __len__(self) -> int:
        return self._store.count

    def __repr__(self) -> str:
        return f"HammingIndex(bits={self.bits}, device={str(self.device)!r}, codes={len(self)})"

    def add(self, codes: Array, ids: Any = None) -> None:
        """Adds codes uint8 (n, bytes) with ids int64 (n,).

        Without ids, numbering continues after the largest id that was ever in the index, or starts
        from 0 in a new one; ids of removed codes are not reused. If all ids are larger than those
        in the index, the cost is proportional to n; otherwise the whole index is copied.

        Raises TypeError or ValueError for codes of the wrong dtype or length, and for ids that are
        negative, already in the index, or given twice.
        """
        packed = check_codes(codes, self.bits, "codes").to(self.device)
        numbers = None if ids is None else check_ids(ids, "ids").to(self.device)
        if numbers is not None and len(numbers) != len(packed):
            raise ValueError(
                f"ids must be one for each of the {len(packed)} codes, got {len(numbers)}"
            )
        with self._changing:
            self._store = self._now().added(packed, numbers, "ids")

    def reserve(self, count: int) -> None:
        """Allocates memory for `count` codes in total, so that adding them needs no reallocation.

        Changes nothing else. Without it the buffer grows by half when needed, and both the old and
        the new one exist during the copy. Raises MemoryError if the memory cannot be allocated.
        """
        count = check_integer(count, "count", 0, MAX_ID)
        with self._changing:
            try:
                self._store = self._now().reserved(count)
            except RuntimeError as error:
                raise MemoryError(f"count must fit into memory, got {count} codes") from error

    def remove_ids(self, ids: Any) -> int:
        """Removes the codes with these ids, int64 (n,), and returns how many were removed.

        The others keep their ids (faiss's flat index renumbers them). Raises TypeError for a mask
        of bool (its ids are `index.ids()[mask]`), ValueError if an id is not in the index and for a
        mask of integers 0 and 1.
        """
        numbers = check_removed(ids, len(self)).to(self.device)
        with self._changing:
            before = self._now()
            self._store = before.without(numbers, "ids")
            return before.count - self._store.count

    def reconstruct(self, ids: Any) -> Any:
        """Codes uint8 (n, bytes) of ids int64 (n,): a tensor if ids are one, else a NumPy array.

        Raises ValueError if an id is not in the index.
        """
        store = self._now()
        where = store.positions(check_ids(ids, "ids").to(self.device), "ids")
        return like(store.codes[where], ids)

    def ids(self) -> np.ndarray:
        """All ids, int64 (N,), ascending."""
        return self._now().all_ids().cpu().clone().numpy()

    def merge(self, other: "Collection") -> None:
        """Adds all codes of `other`, with their ids; `other` is not changed.

        Raises TypeError if `other` is not an index, ValueError if its code length differs or an id
        is in both.
        """
        if not isinstance(other, Collection):
            raise TypeError(f"merge: other must be a HammingIndex, got {type(other).__name__}")
        if other.bits != self.bits:
            raise ValueError(f"merge: other must have {self.bits} bits, got {other.bits}")
        store = other._now()
        codes, numbers = store.codes.to(self.device), store.all_ids().to(self.device)
        with self._changing:
            self._store = self._now().added(codes, numbers, "merge: other's ids")

    def _known_parts(self) -> dict[str, range]:
        if self._parts is None:
            raise ValueError(
                "search by parts needs bit_groups: HammingIndex(bits, bit_groups=model.bit_groups)"
            )
        return self._parts

    def _queries(self, queries: Array) -> Tensor:
        return check_codes(queries, self.bits, "queries").to(self.device)

    def _now(self) -> Store:
        """The present contents, with the current stream waiting until they are written."""
        return self._store.joined()

    def _searched(self, subset: Any) -> Store:
        """The present contents, restricted to `subset` unless that is None."""
        return self._now() if subset is None else self._now().narrowed(subset, "subset")
