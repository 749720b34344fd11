"""Exact search by Hamming distance over codes held in memory or mapped from a file."""

import os
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from ..arrays import Array, as_tensor, check_integer, like, writable
from ..codes import code_bytes
from ..ops.hamming import hamming_range, hamming_topk
from . import _faiss, _file, _weighted
from ._collection import Collection
from ._partitioned import MOST_PADDED, NO_DISTANCE, NO_ID, padded
from ._store import Store, empty_codes
from .bit_groups import hit_distances, part_masks
from .streamed import StreamedIndex


class HammingIndex(Collection):
    """Packed codes with ids, searched exactly.

    Every result is ascending by (distance, id), on every device, alone or in a batch. Codes are
    uint8 (N, ceil(bits / 8)) as `pack_codes` makes them, bits 1..4096; ids are unique int64 from 0
    to 2**63 - 2. NumPy arrays go in and come out, or tensors, on the device they came from.

    Nothing is changed by a call that raises. Any number of threads may use an index at a time:
    changes come one after another, and a search, a rank or a save sees the codes as they were when
    it began, never half a change. Searching lets other Python threads run. On a CUDA device every
    call puts its work on the current stream of the thread that makes it, after whatever made the
    codes as they are, and returns without waiting for it where the answer is a tensor there
    (range_search, subset, and lengths that are no multiple of 8 have to wait).

    Args:
        bits: length of a code.
        device: where the codes are kept and compared.
        bit_groups: name of a part -> its bits, each bit in one: `model.bit_groups`, or what
            `gallery.json` has. They give `by_part` and `weights` their meaning; None for none.
            A file does not hold them, a gallery does.
    """

    def search(
        self,
        queries: Array,
        k: int,
        *,
        subset: Any = None,
        weights: Mapping[str, float] | None = None,
        by_part: bool = False,
    ) -> tuple[Array, ...]:
        """The k nearest codes of each query, ascending by (distance, id).

        Args:
            queries: uint8 (Q, bytes).
            k: 1 to the larger of N and 2**24. Where it exceeds what is searched, the rest is
                distance 2**31 - 1, id -1.
            subset: what to search among: ids, each in the index, or a mask, bool (N,) over all
                codes in ascending order of id; its codes are copied for the call. None for all.
            weights: name of a part -> number >= 0, see `_weighted`: distances are then the sums of
                weight * distance of the part, 0 for parts that are not named; {"part1": 1} asks
                by one part alone. They and their order are exact, a float standing for the decimal
                that it is written as. int32 if all weights are integers, else float64 (rest: inf).
                What it searches is made of the codes at the first call and kept until they change.
            by_part: also return the distance of each part, unweighted.

        Returns distances int32 (Q, k), ids int64 (Q, k), and with by_part int32 (Q, k, parts) in
        the order of `bit_groups`, whose sum is the distance (rest: -1).
        """
        packed = self._queries(queries)
        parts = self._known_parts() if by_part or weights is not None else {}
        weighed = None if weights is None else _weighted.weighing(weights, parts)
        store = self._searched(subset)
        k = check_integer(k, "k", 1, max(store.count, MOST_PADDED))
        found = min(k, store.count)
        if weighed is None:
            near, where = hamming_topk(packed, store.codes, found)
        else:
            near, where = _weighted.nearest(packed, store, self.bits, found, weighed)
        missing = k - found
        far = torch.inf if near.is_floating_point() else NO_DISTANCE
        answer = [padded(near, missing, far), padded(store.to_ids(where), missing, NO_ID)]
        if by_part:
            split = hit_distances(packed, store.codes, where, part_masks(parts, self.bits))
            answer.append(torch.nn.functional.pad(split, (0, 0, 0, missing), value=-1))
        return tuple(like(tensor, queries) for tensor in answer)

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

    def to(self, device: str | torch.device) -> "HammingIndex":
        """This index if it is on `device`, else a copy there, under the same ids (as Tensor.to)."""
        target = empty_codes(code_bytes(self.bits), device).device
        return self if target == self.device else self._copied(lambda tensor: tensor.to(target))

    def pin_memory(self) -> "HammingIndex":
        """A copy in page-locked memory of the host, which `streamed` copies to a device fastest.

        Additions that need more room move it to ordinary memory. Raises ValueError where the index
        is not on the CPU, or there is no CUDA device.
        """
        if self.device.type != "cpu" or not torch.cuda.is_available():
            raise ValueError(
                "pin_memory: the index must be on the CPU of a machine with a CUDA device, got "
                f"{self.device}, {torch.cuda.device_count()} CUDA devices"
            )
        return self._copied(lambda tensor: tensor.pin_memory())

    def streamed(self, device: str | torch.device, memory: int = 1 << 30) -> StreamedIndex:
        """Searches of this index on another device, through which the codes go block by block.

        Args:
            device: where the codes are compared.
            memory: bytes of it that the blocks take; queries, answers and what a search itself
                needs come on top. At least two codes.

        Nothing is copied before a search; see `StreamedIndex`.
        """
        return StreamedIndex(self, device, memory)

    def _copied(self, copy: Callable[[Tensor], Tensor]) -> "HammingIndex":
        store = self._now()
        result = HammingIndex(self.bits, bit_groups=self.bit_groups)
        ids = None if store.ids is None else copy(store.ids)
        result._store = Store(copy(store.codes), ids, store.next_id)
        return result

    def to_faiss(self) -> Any:
        """A faiss index with the same codes: IndexBinaryFlat, in IndexBinaryIDMap2 unless code i
        has id i.

        faiss knows multiples of 8 bits: others are padded with zeros, which changes no distance.
        Ids and distances are the same in both; the order of equal distances is faiss's own there.
        Raises ImportError where faiss is not installed.
        """
        store = self._now()
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
        store = self._now()
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
        content = _file.read(path, verify=verify)
        index = cls(content.bits, device)
        codes = as_tensor(content.codes, "codes").to(index.device)
        ids = None if content.ids is None else as_tensor(content.ids, "ids").to(index.device)
        index._store = Store(codes, ids, content.next_id)
        return index
