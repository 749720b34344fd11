"""Communication between the processes that torchrun started.

A process that was not started by torchrun is process 0 of 1; all functions then return at once.
Otherwise the functions that exchange data are collective: every process must call them in the same
order. CPU tensors are sent by gloo, CUDA tensors by NCCL.
"""

import atexit
import gc
import importlib
import json
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from . import torchrun

T = TypeVar("T")

# Timeout: longer than any work of one process for which the others wait.
PATIENCE = timedelta(minutes=10)

# Environment variable in which torchrun counts its restarts.
RESTARTS = "TORCHELASTIC_RESTART_COUNT"

# Messages of gloo when another process is gone; NCCL raises dist.DistError.
_GONE = re.compile(r"gloo|closed by peer|reset by peer|broken pipe|timed out", re.IGNORECASE)


class OtherProcessFailed(RuntimeError):
    """Another process of this run failed; it reports the error itself."""


class ProcessLost(OtherProcessFailed):
    """Another process of this run died without reporting an error, or cannot be reached."""


def join(device: str = "cpu") -> None:
    """Initialises torch.distributed for the processes that torchrun started.

    device: "cpu" or "cuda". Does nothing without torchrun, or if it is initialised already.
    """
    if _joined() or not launched():
        return
    backend = "cpu:gloo,cuda:nccl" if device == "cuda" else "gloo"
    if device == "cuda":
        torch.cuda.set_device(local_rank())
    # Imported later, as by DistributedDataParallel, its functions would hold the process group, as
    # the default values of their arguments, for ever: see `_leave`.
    importlib.import_module("torch.distributed.nn.functional")
    with watched():
        # torchrun keeps one store over all restarts. Without a separate prefix for each restart, a
        # process could read the address of a dead process and wait for it.
        store, number, processes = next(dist.rendezvous("env://", timeout=PATIENCE))
        store = dist.PrefixStore(f"restart {os.environ.get(RESTARTS, 0)}", store)
        dist.init_process_group(
            backend, store=store, rank=number, world_size=processes, timeout=PATIENCE
        )
    atexit.register(_leave)


def launched() -> bool:
    """Whether torchrun started this process, or the caller has initialised torch.distributed."""
    return _joined() or torchrun.launched()


def rank() -> int:
    """The rank of this process, from 0."""
    return dist.get_rank() if _joined() else 0


def world_size() -> int:
    """The number of processes."""
    return dist.get_world_size() if _joined() else 1


def local_rank() -> int:
    """The rank of this process on its machine, which is also the number of its device."""
    return dist.get_node_local_rank(0) if dist.is_available() else 0


def is_main() -> bool:
    """Whether this is process 0, which writes files and prints."""
    return rank() == 0


def share(count: int) -> range:
    """This process's share of 0..count-1; shares are contiguous and in order of rank."""
    return share_of(count, rank(), world_size())


def share_of(count: int, process: int, processes: int) -> range:
    """The share of 0..count-1 of `process` out of `processes`; sizes differ by at most 1."""
    return range(count * process // processes, count * (process + 1) // processes)


def barrier() -> None:
    """Waits until every process has called it."""
    everyone(None)


def total(tensor: Tensor) -> Tensor:
    """The sum over all processes, bitwise identical on each."""
    return _reduced(tensor, "SUM")


def largest(tensor: Tensor) -> Tensor:
    """The elementwise maximum over all processes."""
    return _reduced(tensor, "MAX")


def broadcast(tensors: list[Tensor]) -> None:
    """Overwrites `tensors` on every process with those of process 0."""
    if world_size() > 1:
        with watched():
            for tensor in tensors:
                sent = tensor.detach().contiguous()
                dist.broadcast(sent, 0)
                if sent.data_ptr() != tensor.data_ptr():
                    tensor.detach().copy_(sent)


def gather(rows: Tensor) -> Tensor:
    """Concatenates rows (n_r, ...) of all processes r, in order: (n_0 + n_1 + ..., ...)."""
    if world_size() == 1:
        return rows
    counts = [torch.zeros((), dtype=torch.int64, device=rows.device) for _ in range(world_size())]
    with watched():
        dist.all_gather(counts, torch.tensor(len(rows), device=rows.device))
        lengths = [int(count) for count in counts]
        padded = rows.new_zeros(max(lengths), *rows.shape[1:])
        padded[: len(rows)] = rows
        found = [torch.empty_like(padded) for _ in lengths]
        dist.all_gather(found, padded)
    return torch.cat([part[:length] for part, length in zip(found, lengths, strict=True)])


def everyone(value: Any) -> list[Any]:
    """Returns the values of all processes in order, on every process; `value` must be JSON."""
    if world_size() == 1:
        return [value]
    text = json.dumps(value).encode() + b"\n"
    found = gather(torch.frombuffer(bytearray(text), dtype=torch.uint8))
    return [json.loads(line) for line in found.numpy().tobytes().splitlines()]


def together(work: Callable[[], T]) -> T:
    """Runs work() on every process; if it fails on one, all processes raise.

    A process raises its own error, or OtherProcessFailed if it has none or if a process of lower
    rank has the same one.
    """
    if world_size() == 1:
        return work()
    failure: Exception | None = None
    try:
        result = work()
    except ProcessLost:
        raise
    except Exception as error:
        failure = error
    failures = everyone(None if failure is None else str(failure))
    if failure is not None and str(failure) not in failures[: rank()]:
        raise failure
    for process, text in enumerate(failures):
        if text is not None:
            raise OtherProcessFailed(f"process {process} failed: {text}")
    return result


def on_main(work: Callable[[], T]) -> T:
    """Runs work() on process 0 and returns its result, which must be JSON, on every process.

    If it fails, the other processes raise OtherProcessFailed.
    """
    result = together(work if is_main() else _nothing)
    told = everyone(result if is_main() else None)[0]
    return result if is_main() else told


@contextmanager
def watched() -> Iterator[None]:
    """Context manager that converts torch's errors about a lost process to ProcessLost."""
    try:
        yield
    except OtherProcessFailed:
        raise
    except RuntimeError as error:
        gone = isinstance(error, dist.DistError) if dist.is_available() else False
        if gone or (_joined() and _GONE.search(str(error))):
            raise ProcessLost("another process of this run died or cannot be reached") from error
        raise


def _joined() -> bool:
    return dist.is_available() and dist.is_initialized()


def _reduced(tensor: Tensor, operation: str) -> Tensor:
    result = tensor.detach().clone()
    if world_size() > 1:
        with watched():
            dist.all_reduce(result, getattr(dist.ReduceOp, operation))
    return result


def _nothing() -> Any:
    return None


def _leave() -> None:
    """End torch's process group and its threads, which free tensors of the last exchanges: one that
    did so while Python ends would abort the process, after all its work. The threads end with the
    last reference to the group."""
    if _joined():
        gc.collect()
        dist.destroy_process_group()
