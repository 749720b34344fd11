"""Codes in ascending order of their ids, and nothing else: what an index searches."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from .codes import as_tensor

MAX_ID = 2**63 - 2


def check_ids(values: Any, name: str) -> Tensor:
    """`values` as int64 (n,) without negative ones. NumPy array, tensor, or sequence of integers.

    Raises TypeError or ValueError naming `name`.
    """
    if not isinstance(values, (np.ndarray, Tensor)):
        array = np.asarray(values)
        values = array.astype(np.int64) if array.size == 0 else array
    ids = as_tensor(values, name)
    if ids.is_floating_point() or ids.is_complex() or ids.dtype is torch.bool:
        raise TypeError(f"{name} must be integers, got {ids.dtype}")
    if ids.ndim != 1:
        raise ValueError(f"{name} must be (n,), got {tuple(ids.shape)}")
    ids = ids.to(torch.int64)
    if len(ids) and (int(ids.min()) < 0 or int(ids.max()) > MAX_ID):
        raise ValueError(
            f"{name} must be from 0 to 2**63 - 2, got {int(ids.min())} to {int(ids.max())}"
        )
    return ids


class Store:
    """Codes uint8 (N, bytes) and their ids int64 (N,), ascending; ids are implicit while 0..N - 1.

    Rows are appended to a buffer that grows by half, so many small additions cost no more than one.
    A buffer that was given, perhaps mapped from a file, is full: it is replaced, never written to.
    """

    def __init__(self, codes: Tensor, ids: Tensor | None = None, next_id: int | None = None):
        self._codes = codes
        self._ids = ids
        self.count = len(codes)
        largest = self.count - 1 if ids is None else int(ids[-1]) if len(ids) else -1
        self.next_id = largest + 1 if next_id is None else next_id

    @property
    def codes(self) -> Tensor:
        return self._codes[: self.count]

    @property
    def ids(self) -> Tensor | None:
        """None where code i has id i."""
        return None if self._ids is None else self._ids[: self.count]

    def to_ids(self, positions: Tensor) -> Tensor:
        return positions if self._ids is None else self._ids[positions]

    def positions(self, ids: Tensor, name: str) -> Tensor:
        """Where the codes with these ids are. Raises ValueError naming the first that is absent."""
        if self._ids is None:
            where, present = ids, ids < self.count
        else:
            where = torch.searchsorted(self._ids[: self.count], ids)
            present = where < self.count
            present[present.clone()] = self._ids[where[present]] == ids[present]
        if not present.all():
            absent = ids[~present]
            raise ValueError(
                f"{name} must be in the index; {len(absent)} of {len(ids)} are not, "
                f"the first is {int(absent[0])}"
            )
        return where

    def add(self, codes: Tensor, ids: Tensor | None, name: str) -> None:
        """Raises ValueError, before anything is changed, for ids that are there or come twice."""
        if len(codes) == 0:
            return
        if ids is None:
            if self.next_id + len(codes) > MAX_ID + 1:
                raise ValueError(f"{name} must be given: the next id would be {self.next_id}")
            if self._ids is None and self.next_id == self.count:
                self._append(codes, None)
                return
            ids = torch.arange(self.next_id, self.next_id + len(codes), device=codes.device)
        ids, order = ids.sort()
        codes = codes[order]
        self._refuse_known(ids, name)
        first, last = int(ids[0]), int(ids[-1])
        if self._ids is None and (first, last) == (self.count, self.count + len(ids) - 1):
            self._append(codes, None)
            return
        own = self._explicit()
        if self.count and first < int(own[-1]):
            ids, order = torch.cat([own, ids]).sort()
            next_id = max(self.next_id, last + 1)
            self.replace(torch.cat([self.codes, codes])[order], ids, next_id)
        else:
            self._append(codes, ids)

    def remove(self, ids: Tensor, name: str) -> int:
        keep = torch.ones(self.count, dtype=torch.bool, device=self._codes.device)
        keep[self.positions(ids, name)] = False
        removed = self.count - int(keep.sum())
        if removed:
            self.replace(self.codes[keep], self._explicit()[keep], self.next_id)
        return removed

    def replace(self, codes: Tensor, ids: Tensor, next_id: int) -> None:
        self._codes, self._ids, self.count = codes, ids, len(codes)
        self.next_id = next_id

    def _explicit(self) -> Tensor:
        if self._ids is None:
            return torch.arange(self.count, device=self._codes.device)
        return self._ids[: self.count]

    def _refuse_known(self, ids: Tensor, name: str) -> None:
        twice = ids[1:][ids[1:] == ids[:-1]]
        if len(twice):
            raise ValueError(f"{name} must be unique, got {int(twice[0])} more than once")
        own = self._explicit()
        if len(own) and int(ids[0]) <= int(own[-1]):
            where = torch.searchsorted(own, ids).clamp(max=len(own) - 1)
            known = ids[own[where] == ids]
            if len(known):
                raise ValueError(f"{name} must be new, but {int(known[0])} is in the index already")

    def _append(self, codes: Tensor, ids: Tensor | None) -> None:
        """ids ascending and above all that are there; None where they go on as 0..N - 1."""
        size = self.count + len(codes)
        own = None if ids is None else self._explicit()
        rows = self._grown(self._codes, size)
        rows[self.count : size] = codes
        if ids is not None and own is not None:
            numbers = self._grown(own if self._ids is None else self._ids, size)
            numbers[self.count : size] = ids
            self._ids = numbers
        self._codes, self.count = rows, size
        self.next_id = max(self.next_id, size if ids is None else int(ids[-1]) + 1)

    def _grown(self, buffer: Tensor, size: int) -> Tensor:
        """A buffer of at least `size` rows with the same first `count`."""
        if len(buffer) >= size:
            return buffer
        capacity = max(size, self.count + self.count // 2)
        grown = buffer.new_empty(capacity, *buffer.shape[1:])
        grown[: self.count] = buffer[: self.count]
        return grown
