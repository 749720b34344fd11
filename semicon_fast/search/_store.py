"""The immutable contents of an index: codes in ascending order of their ids."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from ..arrays import as_integers, as_tensor, refuse_integer_mask
from . import _file
from ._cuda_streams import PendingWrites
from ._huge_pages import prefer_large_pages

if TYPE_CHECKING:
    from ._tables import CodeTables

MAX_ID = 2**63 - 2


def check_ids(values: Any, name: str) -> Tensor:
    """Ids as int64 (n,), from a NumPy array, tensor or sequence of integers 0 to 2**63 - 2.

    Raises TypeError or ValueError naming `name`.
    """
    ids = as_integers(values, name)
    if ids.dtype is torch.bool:
        raise TypeError(f"{name} must be integers, got {ids.dtype}")
    ids = ids.to(torch.int64).contiguous()
    if len(ids) and (int(ids.min()) < 0 or int(ids.max()) > MAX_ID):
        raise ValueError(
            f"{name} must be from 0 to 2**63 - 2, got {int(ids.min())} to {int(ids.max())}"
        )
    return ids


def selection(subset: Any, name: str, count: int) -> Tensor:
    """A checked `subset` argument: ids int64 (n,), or a mask over all codes, bool (count,)."""
    chosen = as_integers(subset, name)
    if chosen.dtype is not torch.bool:
        ids = check_ids(chosen, name)
        refuse_integer_mask(ids, name, count, "ids, or a mask of bool")
        return ids
    if len(chosen) != count:
        raise ValueError(
            f"{name} must be ids, or a mask with one value for each of the {count} codes, "
            f"got a mask of {len(chosen)}"
        )
    return chosen


def check_removed(values: Any, count: int) -> Tensor:
    """The checked `ids` of codes to remove from `count` codes, int64 (n,)."""
    ids = check_ids(values, "ids")
    refuse_integer_mask(ids, "ids", count, "ids (of a bool mask: index.ids()[mask])")
    return ids


def refuse_absent(ids: Tensor, present: Tensor, name: str) -> None:
    """Raises ValueError, naming the first missing id, unless `present` (n,) is all True."""
    if not present.all():
        absent = ids[~present]
        raise ValueError(
            f"{name} must be in the index; {len(absent)} of {len(ids)} are not, "
            f"the first is {int(absent[0])}"
        )


def empty_codes(width: int, device: str | torch.device) -> Tensor:
    """uint8 (0, width) on `device`. Raises TypeError or ValueError if that cannot hold data."""
    if not isinstance(device, (str, torch.device)):
        raise TypeError(f"device must be a string or a torch.device, got {type(device).__name__}")
    try:
        empty = torch.empty(0, width, dtype=torch.uint8, device=device)
    except (RuntimeError, AssertionError, ImportError) as error:
        reason = str(error).partition(". ")[0].partition("\n")[0]
        raise ValueError(
            f"device must be one of this machine's, got {device!r}: {reason}"
        ) from error
    if empty.is_meta:
        raise ValueError("device must be one that keeps data, got 'meta'")
    return empty


class Store:
    """Codes uint8 (N, bytes) and their ids int64 (N,), ascending; no ids are stored for 0..N - 1.

    The contents of a Store never change: `added`, `without` and `reserved` return a new one, and a
    search continues on the Store that it started with. Codes are appended to a buffer that grows by
    half and is shared with earlier Stores, behind the rows that those use, so many small additions
    cost no more than one large one. Therefore only the newest Store may be added to, by one thread
    at a time. A buffer passed to the constructor, perhaps memory-mapped, counts as full: additions
    replace it and never write to it.

    Pickled, it is arrays and the name of a device, or the path of the index file that it maps. On a
    CUDA device another stream than the one that wrote it may read it after `joined`.

    `tables` hold the first codes, if there are any tables. They are kept while those codes keep
    their positions, and are not pickled.
    """

    def __init__(
        self,
        codes: Tensor,
        ids: Tensor | None,
        next_id: int,
        count: int | None = None,
        file: _file.Written | None = None,
        tables: "CodeTables | None" = None,
    ):
        self.tables = tables
        self._codes = codes
        self._ids = ids
        self.count = len(codes) if count is None else count
        self.next_id = next_id
        self._file = file
        self._derived: dict[Any, tuple[Tensor, PendingWrites]] = {}
        self._writes = PendingWrites(codes, ids)

    def __reduce__(self) -> tuple[Any, ...]:
        # Arrays, not tensors: between processes PyTorch passes a tensor as a handle to shared
        # memory, which has to outlive the pickle, and which both sides would write to.
        if self._file is not None and self._file.is_unchanged():
            return _mapped_again, (self._file,)
        arrays = (None if x is None else x.cpu().numpy() for x in (self.codes, self.ids))
        return _unpickled, (*arrays, self.next_id, str(self.device))

    def __len__(self) -> int:
        return self.count

    def joined(self) -> "Store":
        """This Store, after making the current stream wait for the stream that wrote it."""
        self._writes.wait()
        return self

    @property
    def device(self) -> torch.device:
        return self._codes.device

    @property
    def codes(self) -> Tensor:
        return self._codes[: self.count]

    @property
    def ids(self) -> Tensor | None:
        """None where code i has id i."""
        return None if self._ids is None else self._ids[: self.count]

    def derived(self, key: Any, make: Callable[[Tensor], Tensor], most: int) -> Tensor:
        """`make(codes)`, cached under `key` in this Store, with at most `most` cached results.

        Two threads that ask at the same time may both compute it, with the same result.
        """
        kept = self._derived.get(key)
        if kept is None:
            made = make(self.codes)
            kept = self._derived[key] = made, PendingWrites(made)
            for old in list(self._derived)[:-most]:
                self._derived.pop(old, None)
        kept[1].wait()
        return kept[0]

    def to_ids(self, positions: Tensor) -> Tensor:
        return positions if self._ids is None else self._ids[positions]

    def _found(self, ids: Tensor) -> tuple[Tensor, Tensor]:
        """Positions of the codes with these ids, and which of the ids are present, both (n,)."""
        if self._ids is None:
            return ids, ids < self.count
        where = torch.searchsorted(self._ids[: self.count], ids)
        present = where < self.count
        present[present.clone()] = self._ids[where[present]] == ids[present]
        return where, present

    def holds(self, ids: Tensor) -> Tensor:
        """Which of the ids are present, bool (n,)."""
        return self._found(ids)[1]

    def positions(self, ids: Tensor, name: str) -> Tensor:
        """Positions of the codes with these ids. Raises ValueError if one is not present."""
        where, present = self._found(ids)
        refuse_absent(ids, present, name)
        return where

    def narrowed(self, subset: Any, name: str) -> "Store":
        """A copy that holds only the codes selected by ids or by a mask over all codes."""
        chosen = selection(subset, name, self.count).to(self.device)
        if chosen.dtype is torch.bool:
            where = chosen.nonzero().flatten()
        else:
            where = self.positions(chosen, name).unique()
        return Store(self.codes[where], self.to_ids(where), self.next_id)

    def added(self, codes: Tensor, ids: Tensor | None, name: str) -> "Store":
        """With these codes added. Raises ValueError for ids already present or given twice."""
        if len(codes) == 0:
            return self
        if ids is None:
            if self.next_id + len(codes) > MAX_ID + 1:
                raise ValueError(f"{name} must be given: the next id would be {self.next_id}")
            if self._ids is None and self.next_id == self.count:
                return self._extended(codes, None)
            ids = torch.arange(self.next_id, self.next_id + len(codes), device=codes.device)
        ids, order = ids.sort()
        codes = codes[order]
        self.refuse_known(ids, name)
        first, last = int(ids[0]), int(ids[-1])
        if self._ids is None and (first, last) == (self.count, self.count + len(ids) - 1):
            return self._extended(codes, None)
        own = self.all_ids()
        if not self.count or first > int(own[-1]):
            return self._extended(codes, ids)
        ids, order = torch.cat([own, ids]).sort()
        next_id = max(self.next_id, last + 1)
        return Store(torch.cat([self.codes, codes])[order], ids, next_id)

    def without(self, ids: Tensor, name: str) -> "Store":
        """Without the codes of these ids. Raises ValueError if one is not present."""
        keep = torch.ones(self.count, dtype=torch.bool, device=self.device)
        keep[self.positions(ids, name)] = False
        return Store(self.codes[keep], self.all_ids()[keep], self.next_id) if len(ids) else self

    def reserved(self, count: int) -> "Store":
        """The same contents in a buffer for at least `count` codes."""
        ids = None if self._ids is None else self._grown(self._ids, count)
        codes = self._grown(self._codes, count)
        return Store(codes, ids, self.next_id, self.count, tables=self.tables)

    def sealed(self) -> "Store":
        """The same contents in the same memory; it counts as full, so both may be added to."""
        return Store(self.codes, self.ids, self.next_id, file=self._file, tables=self.tables)

    def all_ids(self) -> Tensor:
        """All ids, int64 (N,), ascending. Must not be written to."""
        if self._ids is None:
            return torch.arange(self.count, device=self.device)
        return self._ids[: self.count]

    def refuse_known(self, ids: Tensor, name: str) -> None:
        """Raises ValueError if one of the ids, ascending, is already present or occurs twice."""
        twice = ids[1:][ids[1:] == ids[:-1]]
        if len(twice):
            raise ValueError(f"{name} must be unique, got {int(twice[0])} more than once")
        own = self.all_ids()
        if len(own) and int(ids[0]) <= int(own[-1]):
            where = torch.searchsorted(own, ids).clamp(max=len(own) - 1)
            known = ids[own[where] == ids]
            if len(known):
                raise ValueError(f"{name} must be new, but {int(known[0])} is in the index already")

    def _extended(self, codes: Tensor, ids: Tensor | None) -> "Store":
        """With codes appended. ids: ascending and above all present; None: ids stay 0..N - 1."""
        size = self.count + len(codes)
        rows = self._grown(self._codes, size)
        rows[self.count : size] = codes
        numbers = None
        if ids is not None:
            numbers = self._grown(self.all_ids() if self._ids is None else self._ids, size)
            numbers[self.count : size] = ids
        next_id = max(self.next_id, size if ids is None else int(ids[-1]) + 1)
        return Store(rows, numbers, next_id, size, tables=self.tables)

    def _grown(self, buffer: Tensor, size: int) -> Tensor:
        """A buffer of at least `size` rows whose first `count` rows are those of `buffer`."""
        if len(buffer) >= size:
            return buffer
        capacity = max(size, self.count + self.count // 2)
        # Otherwise a buffer made in inference mode could not be written to outside of it.
        with torch.inference_mode(False):
            grown = buffer.new_empty(capacity, *buffer.shape[1:])
        prefer_large_pages(grown)
        grown[: self.count] = buffer[: self.count]
        return grown


def from_arrays(
    codes: np.ndarray,
    ids: np.ndarray | None,
    next_id: int,
    device: str | torch.device = "cpu",
    file: _file.Written | None = None,
) -> Store:
    """A Store of these arrays on `device`; `file` is the index file that they map, if any."""
    rows = as_tensor(codes, "codes").to(device)
    numbers = None if ids is None else as_tensor(ids, "ids").to(device)
    return Store(rows, numbers, next_id, file=file if rows.is_cpu else None)


def _unpickled(codes: np.ndarray, ids: np.ndarray | None, next_id: int, device: str) -> Store:
    try:
        empty_codes(codes.shape[1], device)
    except ValueError as error:
        raise ValueError(
            f"the index was pickled on device {device!r}, which this machine or process does not "
            'have; pickle index.to("cpu") instead'
        ) from error
    return from_arrays(codes, ids, next_id, device)


def _mapped_again(file: _file.Written) -> Store:
    content = _file.read_again(file)
    return from_arrays(content.codes, content.ids, content.next_id, file=content.file)
