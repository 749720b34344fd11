"""An index whose codes are distributed over several devices."""

import os
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..arrays import Array, as_tensor, like
from ..codes import check_bits, check_codes, code_bytes
from ..forks import Lock
from ..ops.hamming import hamming_range, hamming_topk
from . import _file
from ._partitioned import InRange, Nearest, PartitionedSearch, merged_nearest, merged_ranges
from ._store import (
    MAX_ID,
    Store,
    check_ids,
    check_removed,
    empty_codes,
    refuse_absent,
    selection,
)

Shards = tuple[Store, ...]


class State:
    """All shards at one moment; immutable like a Store, changes return a new one."""

    def __init__(self, shards: Shards) -> None:
        self.shards = shards

    def __len__(self) -> int:
        return sum(shard.count for shard in self.shards)

    @property
    def next_id(self) -> int:
        return max(shard.next_id for shard in self.shards)

    def joined(self) -> "State":
        """This State, after making each device's current stream wait until it is written."""
        for shard in self.shards:
            shard.joined()
        return self

    def all_ids(self) -> Tensor:
        """All ids, int64 (N,), ascending, on the CPU."""
        return torch.cat([shard.all_ids().cpu() for shard in self.shards]).sort().values

    def sealed(self) -> "State":
        """The same contents in the same memory; both may be added to. See `Store.sealed`."""
        return State(tuple(shard.sealed() for shard in self.shards))

    def held(self, ids: Tensor, name: str) -> list[Tensor]:
        """For each shard which of the ids it holds, bool (n,). Raises ValueError for others."""
        holds = [shard.holds(ids.to(shard.device)).to(ids.device) for shard in self.shards]
        refuse_absent(ids, torch.stack(holds).any(0), name)
        return holds

    def added(self, codes: Tensor, ids: Tensor) -> "State":
        """With codes added, in contiguous runs, to the shards that hold the fewest."""
        for shard in self.shards:
            shard.refuse_known(ids.sort().values.to(shard.device), "ids")
        goal = -(-(len(self) + len(codes)) // len(self.shards))
        shards, first = [], 0
        for shard in self.shards:
            rows = slice(first, min(len(codes), first + max(0, goal - shard.count)))
            first = rows.stop
            mine = codes[rows].to(shard.device), ids[rows].to(shard.device)
            shards.append(shard.added(*mine, "ids"))
        return State(tuple(shards))

    def without(self, ids: Tensor) -> "State":
        pairs = zip(self.shards, self.held(ids, "ids"), strict=True)
        return State(tuple(s.without(ids[held].to(s.device), "ids") for s, held in pairs))

    def narrowed(self, subset: Any) -> "State":
        """Restricted to ids, or to a mask over all codes in ascending order of id."""
        chosen = selection(subset, "subset", len(self))
        ids = self.all_ids()[chosen] if chosen.dtype is torch.bool else chosen.unique()
        pairs = zip(self.shards, self.held(ids, "subset"), strict=True)
        return State(tuple(s.narrowed(ids[held].to(s.device), "subset") for s, held in pairs))

    def gathered(self) -> tuple[Tensor, Tensor]:
        """All codes and ids on the CPU, ascending by id."""
        codes = torch.cat([shard.codes.cpu() for shard in self.shards])
        ids, order = torch.cat([shard.all_ids().cpu() for shard in self.shards]).sort()
        return codes[order], ids


class ShardedHammingIndex(PartitionedSearch):
    """A `HammingIndex` whose codes are distributed over several devices, searched in parallel.

    Results, their order, the guarantees for threads, and copies and pickles are those of a
    `HammingIndex` with the same codes and ids. A search runs on every device, and the results are
    merged on the first one, whose memory must hold k results of each shard, or all results of
    range_search and rank. Codes are added to the devices that hold the fewest, so that the shards
    stay equally large; each device also stores the ids of its codes, 8 bytes each. A device may be
    named more than once.

    Args:
        bits: length of a code.
        devices: where the codes are stored and compared; at least one.
    """

    def __init__(self, bits: int, devices: Sequence[str | torch.device]) -> None:
        self._bits = check_bits(bits)
        if isinstance(devices, (str, torch.device)) or not isinstance(devices, Sequence):
            raise TypeError(f"devices must be a list of devices, got {devices!r}")
        if not devices:
            raise ValueError("devices must name at least one device, got none")
        width = code_bytes(self._bits)
        self._now = State(tuple(Store(empty_codes(width, d), None, 0) for d in devices))
        self._changing = Lock()

    def __getstate__(self) -> dict[str, Any]:
        return {"bits": self.bits, "state": self._current().sealed()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self._bits, self._now = state["bits"], state["state"]
        self._changing = Lock()

    @property
    def bits(self) -> int:
        """Length of a code."""
        return self._bits

    @property
    def devices(self) -> list[torch.device]:
        """Where the codes are stored and compared."""
        return [shard.device for shard in self._now.shards]

    @property
    def sizes(self) -> list[int]:
        """How many codes each device holds."""
        return [shard.count for shard in self._now.shards]

    def __len__(self) -> int:
        return len(self._now)

    def __repr__(self) -> str:
        devices = [str(device) for device in self.devices]
        return f"ShardedHammingIndex(bits={self.bits}, devices={devices}, codes={len(self)})"

    def add(self, codes: Array, ids: Any = None) -> None:
        """Adds codes uint8 (n, bytes) with ids int64 (n,); see `HammingIndex.add`."""
        packed = check_codes(codes, self.bits, "codes")
        numbers = None if ids is None else check_ids(ids, "ids").cpu()
        if numbers is not None and len(numbers) != len(packed):
            raise ValueError(
                f"ids must be one for each of the {len(packed)} codes, got {len(numbers)}"
            )
        with self._changing:
            state = self._current()
            if numbers is None:
                first, stop = state.next_id, state.next_id + len(packed)
                if stop > MAX_ID + 1:
                    raise ValueError(f"ids must be given: the next id would be {first}")
                numbers = torch.arange(first, stop)
            if len(packed):
                self._now = state.added(packed, numbers)

    def remove_ids(self, ids: Any) -> int:
        """Removes the codes with these ids and returns how many; see `HammingIndex.remove_ids`."""
        numbers = check_removed(ids, len(self)).cpu()
        with self._changing:
            before = self._current()
            self._now = before.without(numbers)
            return len(before) - len(self._now)

    def reconstruct(self, ids: Any) -> Any:
        """Codes uint8 (n, bytes) of ids int64 (n,): a tensor if ids are one, else a NumPy array."""
        state, numbers = self._current(), check_ids(ids, "ids").cpu()
        result = torch.empty(len(numbers), code_bytes(self.bits), dtype=torch.uint8)
        for shard, held in zip(state.shards, state.held(numbers, "ids"), strict=True):
            where = shard.positions(numbers[held].to(shard.device), "ids")
            result[held] = shard.codes[where].cpu()
        return like(result, ids)

    def ids(self) -> np.ndarray:
        """All ids, int64 (N,), ascending."""
        return self._current().all_ids().numpy()

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes the same file as `HammingIndex.save`; needs CPU memory for all codes."""
        state = self._current()
        codes, ids = state.gathered()
        numbered = len(ids) == 0 or (int(ids[0]), int(ids[-1])) == (0, len(ids) - 1)
        content = _file.Content(
            self.bits, codes.numpy(), None if numbered else ids.numpy(), state.next_id
        )
        _file.write(path, content)

    @classmethod
    def load(
        cls,
        path: str | os.PathLike[str],
        devices: Sequence[str | torch.device],
        *,
        verify: bool = False,
    ) -> "ShardedHammingIndex":
        """Opens an index saved by this class or by `HammingIndex`; see `HammingIndex.load`."""
        content = _file.read(path, verify=verify)
        index = cls(content.bits, devices)
        ids = None if content.ids is None else as_tensor(content.ids, "ids")
        index.add(as_tensor(content.codes, "codes"), ids)
        for shard in index._now.shards:
            shard.next_id = content.next_id
        return index

    def _current(self) -> State:
        return self._now.joined()

    def _state(self, subset: Any) -> State:
        state = self._current()
        return state if subset is None else state.narrowed(subset)

    def _queries_by_shard(self, state: State, queries: Tensor) -> list[tuple[Store, Tensor]]:
        """Each shard with the queries on its device; all are copied before the first search."""
        return [(shard, queries.to(shard.device)) for shard in state.shards]

    def _nearest(self, state: State, queries: Tensor, k: int) -> Nearest:
        found = []
        for shard, asked in self._queries_by_shard(state, queries):
            near, where = hamming_topk(asked, shard.codes, min(k, shard.count))
            found.append((near, shard.to_ids(where)))
        home = found[0][0].device
        return merged_nearest([(near.to(home), ids.to(home)) for near, ids in found], k)

    def _in_range(self, state: State, queries: Tensor, radius: int) -> InRange:
        found = []
        for shard, asked in self._queries_by_shard(state, queries):
            lims, near, where = hamming_range(asked, shard.codes, radius)
            found.append((lims, near, shard.to_ids(where)))
        home = found[0][0].device
        return merged_ranges([(a.to(home), b.to(home), c.to(home)) for a, b, c in found])
