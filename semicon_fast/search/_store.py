"""Codes in ascending order of their ids, and nothing else: what an index searches."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..arrays import as_tensor
from ._cuda_streams import Filled
from ._huge_pages import prefer_large_pages

MAX_ID = 2**63 - 2


def _integers(values: Any, name: str) -> Tensor:
    """`values` as a tensor (n,). NumPy array, tensor, or sequence of numbers."""
    if not isinstance(values, (np.ndarray, Tensor)):
        try:
            array = np.asarray(values)
        except ValueError as error:
            raise TypeError(f"{name} must be integers, got rows of different lengths") from error
        values = array.astype(np.int64) if array.size == 0 else array
    ids = as_tensor(values, name)
    if ids.is_floating_point() or ids.is_complex():
        raise TypeError(f"{name} must be integers, got {ids.dtype}")
    if ids.ndim != 1:
        raise ValueError(f"{name} must be (n,), got {tuple(ids.shape)}")
    return ids


def check_ids(values: Any, name: str) -> Tensor:
    """`values` as int64 (n,) without negative ones. NumPy array, tensor, or sequence of integers.

    Raises TypeError or ValueError naming `name`.
    """
    ids = _integers(values, name)
    if ids.dtype is torch.bool:
        raise TypeError(f"{name} must be integers, got {ids.dtype}")
    ids = ids.to(torch.int64).contiguous()
    if len(ids) and (int(ids.min()) < 0 or int(ids.max()) > MAX_ID):
        raise ValueError(
            f"{name} must be from 0 to 2**63 - 2, got {int(ids.min())} to {int(ids.max())}"
        )
    return ids


def selection(subset: Any, name: str, count: int) -> Tensor:
    """What a subset is: int64 ids, or bool (count,), a mask over all codes."""
    chosen = _integers(subset, name)
    if chosen.dtype is not torch.bool:
        return check_ids(chosen, name)
    if len(chosen) != count:
        raise ValueError(
            f"{name} must be ids, or a mask with one value for each of the {count} codes, "
            f"got a mask of {len(chosen)}"
        )
    return chosen


def refuse_absent(ids: Tensor, present: Tensor, name: str) -> None:
    """Raises ValueError naming the first id that is not `present`."""
    if not present.all():
        absent = ids[~present]
        raise ValueError(
            f"{name} must be in the index; {len(absent)} of {len(ids)} are not, "
            f"the first is {int(absent[0])}"
        )


def empty_codes(width: int, device: str | torch.device) -> Tensor:
    """uint8 (0, width). Raises TypeError or ValueError where nothing can be kept on `device`."""
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
    """Codes uint8 (N, bytes) and their ids int64 (N,), ascending; ids are implicit while 0..N - 1.

    What a Store says never changes: `added`, `without` and `reserved` return the next one, and a
    search goes on over the one that it began with. Rows are appended to a buffer that grows by
    half, behind the rows that earlier Stores share, so many small additions cost no more than one;
    so only the newest may be added to, by one thread at a time. A buffer that was given, perhaps
    mapped from a file, is full: it is replaced, never written to.

    On a CUDA device the stream that made it may not be the one that reads it: `joined` comes first.
    """

    def __init__(self, codes: Tensor, ids: Tensor | None, next_id: int, count: int | None = None):
        self._codes = codes
        self._ids = ids
        self.count = len(codes) if count is None else count
        self.next_id = next_id
        self._derived: dict[Any, tuple[Tensor, Filled]] = {}
        self._filled = Filled(codes, ids)

    def __reduce__(self) -> tuple[Any, ...]:
        return Store, (self.codes, self.ids, self.next_id)

    def __len__(self) -> int:
        return self.count

    def joined(self) -> "Store":
        """This one, when the current stream goes on after the one that made it."""
        self._filled.join()
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
        """`make(codes)`, kept under `key` for as long as this Store is, `most` of them at a time.

        Two threads that ask at once may both make it, equally.
        """
        kept = self._derived.get(key)
        if kept is None:
            made = make(self.codes)
            kept = self._derived[key] = made, Filled(made)
            for old in list(self._derived)[:-most]:
                self._derived.pop(old, None)
        kept[1].join()
        return kept[0]

    def to_ids(self, positions: Tensor) -> Tensor:
        return positions if self._ids is None else self._ids[positions]

    def _found(self, ids: Tensor) -> tuple[Tensor, Tensor]:
        """Where the codes with these ids are, and which of them are there at all."""
        if self._ids is None:
            return ids, ids < self.count
        where = torch.searchsorted(self._ids[: self.count], ids)
        present = where < self.count
        present[present.clone()] = self._ids[where[present]] == ids[present]
        return where, present

    def holds(self, ids: Tensor) -> Tensor:
        """Which of the ids are here, bool (n,)."""
        return self._found(ids)[1]

    def positions(self, ids: Tensor, name: str) -> Tensor:
        """Where the codes with these ids are. Raises ValueError naming the first that is absent."""
        where, present = self._found(ids)
        refuse_absent(ids, present, name)
        return where

    def narrowed(self, subset: Any, name: str) -> "Store":
        """A copy with the codes of some ids, or of the ones of a mask over all codes."""
        chosen = selection(subset, name, self.count).to(self.device)
        if chosen.dtype is torch.bool:
            where = chosen.nonzero().flatten()
        else:
            where = self.positions(chosen, name).unique()
        return Store(self.codes[where], self.to_ids(where), self.next_id)

    def added(self, codes: Tensor, ids: Tensor | None, name: str) -> "Store":
        """Raises ValueError for ids that are there already or come twice."""
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
        """Raises ValueError where an id is not there."""
        keep = torch.ones(self.count, dtype=torch.bool, device=self.device)
        keep[self.positions(ids, name)] = False
        return Store(self.codes[keep], self.all_ids()[keep], self.next_id) if len(ids) else self

    def reserved(self, count: int) -> "Store":
        """The same with a buffer for `count` codes."""
        ids = None if self._ids is None else self._grown(self._ids, count)
        return Store(self._grown(self._codes, count), ids, self.next_id, self.count)

    def copy(self) -> "Store":
        """The same with memory of its own."""
        ids = None if self._ids is None else self._ids[: self.count].clone()
        return Store(self.codes.clone(), ids, self.next_id)

    def all_ids(self) -> Tensor:
        """int64 (N,), ascending; not to be written to."""
        if self._ids is None:
            return torch.arange(self.count, device=self.device)
        return self._ids[: self.count]

    def refuse_known(self, ids: Tensor, name: str) -> None:
        """Raises ValueError where one of the ids, ascending, is here or comes twice."""
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
        """ids ascending and above all that are there; None where they go on as 0..N - 1."""
        size = self.count + len(codes)
        rows = self._grown(self._codes, size)
        rows[self.count : size] = codes
        numbers = None
        if ids is not None:
            numbers = self._grown(self.all_ids() if self._ids is None else self._ids, size)
            numbers[self.count : size] = ids
        next_id = max(self.next_id, size if ids is None else int(ids[-1]) + 1)
        return Store(rows, numbers, next_id, size)

    def _grown(self, buffer: Tensor, size: int) -> Tensor:
        """A buffer of at least `size` rows with the same first `count`."""
        if len(buffer) >= size:
            return buffer
        capacity = max(size, self.count + self.count // 2)
        grown = buffer.new_empty(capacity, *buffer.shape[1:])
        prefer_large_pages(grown)
        grown[: self.count] = buffer[: self.count]
        return grown
