"""Exact search by Hamming distance over codes in memory or memory-mapped from a file."""

import os
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from ..arrays import Array, check_integer, like, writable
from ..codes import code_bytes
from ..ops.hamming import hamming_range, hamming_topk
from ..ops.scores import score_topk
from . import _faiss, _file, _weighted
from ._collection import Collection
from ._outputs import check_outputs
from ._partitioned import MOST_PADDED, NO_DISTANCE, NO_ID, padded
from ._store import Store, empty_codes, from_arrays
from ._tables import CodeTables, TableSizes, chosen_tables, measure_costs
from .bit_groups import hit_distances, part_masks
from .streamed import StreamedIndex


class HammingIndex(Collection):
    """Packed codes with ids, searched exactly.

    Results are sorted by (distance, id), identically on every device and for single or batched
    queries. Codes are uint8 (N, ceil(bits / 8)) as made by `pack_codes`, bits 1..4096; ids are
    unique int64 from 0 to 2**63 - 2. Queries may be NumPy arrays or tensors; results are of the
    same kind, and on the same device.

    A call that raises changes nothing. Any number of threads may use an index at the same time:
    changes are serialised, and searches and `save` see the codes as they were when the call began,
    never a partial change. The GIL is released during a search. On a CUDA device each call queues
    its work on the calling thread's current stream, after the work that wrote the codes, and
    returns without waiting if the result is a tensor on that device (range_search, subset, and
    code lengths that are not a multiple of 8 have to wait).

    Copied, pickled or passed to another process it is an index of its own, with the same codes,
    ids, bit groups and device, that can be changed; room that was reserved and pinned memory are
    not part of it. Codes that are still those of the file that `load` opened are not pickled: the
    file is opened again by its absolute path, and a ValueError says so if it is gone or another
    one. If the device does not exist there, unpickling raises ValueError; pickle `to("cpu")`.

    Args:
        bits: length of a code.
        device: where the codes are stored and compared.
        bit_groups: name of each part -> its bits, as `model.bit_groups` or `gallery.json`; every
            bit belongs to one part. Required by `by_part` and `weights`; None for none. An index
            file does not contain them, a gallery does.
    """

    def search(
        self,
        queries: Array | None = None,
        k: int | None = None,
        *,
        outputs: Array | None = None,
        subset: Any = None,
        weights: Mapping[str, float] | None = None,
        by_part: bool = False,
        method: str = "auto",
    ) -> tuple[Array, ...]:
        """The k nearest codes of each query, ascending by (distance, id).

        Args:
            queries: uint8 (Q, bytes); None with `outputs`.
            outputs: real-valued outputs of a network, floating (Q, bits), in place of the codes
                that their signs would give: asymmetric search. The score of a code is the sum of
                the outputs, each with the sign of its bit (+ if it is set, as `pack_codes` sets it
                for x >= 0), in float32 in the order that `reference.scores` defines, so that it is
                the same number on every device. The k codes with the largest scores, descending by
                score and ascending by id among equal ones, come with scores float32 (Q, k) in place
                of distances (padded with -inf). Not with weights, by_part or method.
            k: 1 to the larger of N and 2**24. If fewer codes are searched, results are padded with
                distance 2**31 - 1 and id -1.
            subset: the codes to search: ids, each in the index, or a mask bool (N,) over all codes
                in ascending order of id; a mask of integers 0 and 1 is refused. They are copied
                for the call. None for all.
            weights: name of a part -> number >= 0. Distances are then the sum of weight * distance
                over the parts; parts not named have weight 0, so {"part1": 1} searches by that part
                alone. Distances and order are exact; a float is taken as its shortest decimal
                representation. int32 if all weights are integers, else float64 (padded with inf).
                Derived codes are made at the first call and cached until the codes change.
            by_part: also return the unweighted distance of each part; needs `bit_groups`.
            method: "scan", "tables" (of `build_tables`; not with subset or weights), or "auto":
                tables if there are some and they are expected to be faster. The result is the same.

        Returns distances int32 (Q, k) and ids int64 (Q, k); with by_part also int32 (Q, k, parts)
        in the order of `bit_groups`, whose sum over the parts is the Hamming distance (padded with
        -1). Raises TypeError or ValueError naming the argument.
        """
        if (queries is None) == (outputs is None):
            raise ValueError("search takes either queries or outputs, got both or neither")
        if outputs is not None:
            if by_part or weights is not None or method != "auto":
                raise ValueError("outputs cannot be combined with weights, by_part or method")
            return self._search_outputs(outputs, k, subset)
        assert queries is not None
        packed = self._queries(queries)
        parts = self._known_parts() if by_part or weights is not None else {}
        weighed = None if weights is None else _weighted.weighing(weights, parts)
        store = self._searched(subset)
        k = check_integer(k, "k", 1, max(store.count, MOST_PADDED))
        found = min(k, store.count)
        tables = chosen_tables(store, packed, method, subset is None and weights is None)
        if tables is not None:
            near, where = tables[0].nearest(packed, store.codes, found, tables[1])
        elif weighed is None:
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

    def _search_outputs(self, outputs: Array, k: Any, subset: Any) -> tuple[Array, ...]:
        asked = check_outputs(outputs, self.bits).to(self.device)
        store = self._searched(subset)
        k = check_integer(k, "k", 1, max(store.count, MOST_PADDED))
        found = min(k, store.count)
        scores, where = score_topk(asked, store.codes, found)
        answer = (
            padded(scores, k - found, -torch.inf),
            padded(store.to_ids(where), k - found, NO_ID),
        )
        return tuple(like(tensor, outputs) for tensor in answer)

    def range_search(
        self, queries: Array, radius: int, *, subset: Any = None, method: str = "auto"
    ) -> tuple[Array, Array, Array]:
        """Every code at distance <= radius, ascending by (distance, id) within a query.

        Unlike faiss's `range_search`, which returns `distance < radius`, the radius is inclusive.
        queries uint8 (Q, bytes), radius >= 0, subset and method as in `search`.

        Returns lims int64 (Q + 1,), distances int32 (T,), ids int64 (T,): query q's results are the
        entries lims[q] to lims[q + 1].
        """
        packed = self._queries(queries)
        radius = min(check_integer(radius, "radius", 0), self.bits)
        store = self._searched(subset)
        tables = chosen_tables(store, packed, method, subset is None)
        if tables is not None:
            lims, near, where = tables[0].in_range(packed, store.codes, radius, tables[1])
        else:
            lims, near, where = hamming_range(packed, store.codes, radius)
        ids = store.to_ids(where)
        return like(lims, queries), like(near, queries), like(ids, queries)

    def rank(
        self, queries: Array, *, subset: Any = None, out: tuple[Array, Array] | None = None
    ) -> tuple[Array, Array]:
        """Full ranking of the index for each query: distances int32 (Q, N), ids int64 (Q, N).

        queries uint8 (Q, bytes), subset as in `search`; N is then the size of the subset. out:
        contiguous arrays or tensors for both results, which are written to and returned; reusing
        the same memory halves the time.
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

    def build_tables(self, tables: int | None = None, bits_per_table: int | None = None) -> None:
        """Builds tables of the codes (multi-index hashing), for `method` of the searches.

        They take 4 bytes for each code and table (8 from 2**32 codes on), `tables_nbytes` in all,
        and 2 bytes per code more while they are built: 3 tables, 1.3 GB for 100 million 64-bit
        codes. Codes added later are scanned until this is called again; removing codes, adding ids
        below present ones, saving and pickling lose the tables. The first call on a machine also
        measures what searches cost there, in some two seconds.

        Args:
            tables: number of tables; None for what suits the number of codes.
            bits_per_table: the most bits of a table, up to 64; None likewise.

        Raises TypeError or ValueError for numbers that do not cover the bits, ValueError if the
        index is not on the CPU.
        """
        sizes = TableSizes(self.bits, tables, bits_per_table)
        if self.device.type != "cpu":
            raise ValueError(f"build_tables: the index must be on the CPU, got {self.device}")
        with self._changing:
            store = self._store
            built = store.tables = CodeTables.of(store.codes, sizes)
        if built.hold_codes:
            measure_costs()

    @property
    def tables_nbytes(self) -> int:
        """Bytes of the tables; 0 without."""
        tables = self._store.tables
        return 0 if tables is None else tables.nbytes

    def to(self, device: str | torch.device) -> "HammingIndex":
        """This index if it is on `device`, else a copy there with the same ids (like Tensor.to)."""
        target = empty_codes(code_bytes(self.bits), device).device
        return self if target == self.device else self._copied(lambda tensor: tensor.to(target))

    def pin_memory(self) -> "HammingIndex":
        """A copy in pinned (page-locked) host memory, from which `streamed` copies fastest.

        Additions that need a larger buffer move it to ordinary memory. Raises ValueError if the
        index is not on the CPU, or there is no CUDA device.
        """
        if self.device.type != "cpu" or not torch.cuda.is_available():
            raise ValueError(
                "pin_memory: the index must be on the CPU of a machine with a CUDA device, got "
                f"{self.device}, {torch.cuda.device_count()} CUDA devices"
            )
        return self._copied(lambda tensor: tensor.pin_memory())

    def streamed(self, device: str | torch.device, memory: int = 1 << 30) -> StreamedIndex:
        """Searches this index on another device, to which its codes are copied block by block.

        Args:
            device: where the codes are compared.
            memory: bytes on that device for the blocks, at least two codes; queries, results and
                the workspace of a search come on top.

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
        """A faiss index with the same codes: IndexBinaryFlat, in IndexBinaryIDMap2 unless ids are
        0..N - 1.

        faiss requires a multiple of 8 bits: codes are padded with zeros, which changes no distance.
        Ids and distances are the same in both; faiss breaks ties in its own way. Raises ImportError
        if faiss is not installed.
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
            index: its codes are taken to be packed least significant bit first; for other orders
                see `convert_codes`.
            bits: length of a code if the last byte is padded with zeros; None for `index.d`.
            device: where the codes are stored and compared.

        Raises ImportError if faiss is not installed, TypeError for other kinds of index, ValueError
        if `bits` does not match the codes, or ids are negative or not unique.
        """
        codes, ids = _faiss.read(index)
        result = cls(8 * codes.shape[1] if bits is None else bits, device)
        result.add(codes, ids)
        return result

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes the index to a file (format: `search/_file.py`), replacing `path` atomically.

        Raises OSError, and then an existing file is unchanged.
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
        """Opens an index written by `save`.

        On the CPU the file is memory-mapped, not read: opening takes no time whatever its size, and
        pages are read as they are searched. The file is never written to: the first addition copies
        the codes, and `save` replaces a file instead of changing it. If another program truncates
        the file while it is mapped, this process is killed.

        The header's own checksum and the size of the file are always checked, so other kinds of
        files, newer formats, truncated files and damaged headers are rejected. Changed codes or ids
        are detected only with verify=True, which reads the whole file and checks its checksum.

        Raises ValueError if the file is rejected, OSError if it cannot be opened.
        """
        content = _file.read(path, verify=verify)
        index = cls(content.bits, device)
        index._store = from_arrays(
            content.codes, content.ids, content.next_id, index.device, content.file
        )
        return index
