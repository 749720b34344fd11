"""Several processes, started by torchrun: which one this is, and what all of them exchange.

A process that torchrun did not start is process 0 of 1, and every function then returns at once.
All others are collective: every process calls them in the same order. CPU tensors travel by gloo,
CUDA tensors by NCCL.
"""

import atexit
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

# Longer than anything that one process does while the others wait for it.
PATIENCE = timedelta(minutes=10)

# torchrun's count of its restarts.
RESTARTS = "TORCHELASTIC_RESTART_COUNT"

# What gloo says when a peer is gone; NCCL raises dist.DistError.
_GONE = re.compile(r"gloo|closed by peer|reset by peer|broken pipe|timed out", re.IGNORECASE)


class OtherProcessFailed(RuntimeError):
    """Another process of this run failed, and says itself what was wrong."""


class ProcessLost(OtherProcessFailed):
    """Another process of this run died without a word."""


def join(device: str = "cpu") -> None:
    """Joins the processes that torchrun started, once; device "cpu" or "cuda".

    Does nothing without torchrun, or where the caller has joined them already.
    """
    if _joined() or not launched():
        return
    backend = "cpu:gloo,cuda:nccl" if device == "cuda" else "gloo"
    if device == "cuda":
        torch.cuda.set_device(local_rank())
    with watched():
        # torchrun keeps one store over all restarts: without a prefix of its own, a restarted
        # process may read where one that is dead now once listened, and wait for it.
        store, number, processes = next(dist.rendezvous("env://", timeout=PATIENCE))
        store = dist.PrefixStore(f"restart {os.environ.get(RESTARTS, 0)}", store)
        dist.init_process_group(
            backend, store=store, rank=number, world_size=processes, timeout=PATIENCE
        )
    atexit.register(_leave)


def launched() -> bool:
    """Whether torchrun started this process, or it has been joined to others by the caller."""
    return _joined() or torchrun.launched()


def rank() -> int:
    """The number of this process, from 0."""
    return dist.get_rank() if _joined() else 0


def world_size() -> int:
    """How many processes there are."""
    return dist.get_world_size() if _joined() else 1


def local_rank() -> int:
    """The number of this process on its machine, and so of its device."""
    return dist.get_node_local_rank(0) if dist.is_available() else 0


def is_main() -> bool:
    """Whether this process writes files and speaks to people."""
    return rank() == 0


def share(count: int) -> range:
    """This process's part of 0..count-1: contiguous, in the order of the processes."""
    return share_of(count, rank(), world_size())


def share_of(count: int, process: int, processes: int) -> range:
    """The part of 0..count-1 that `process` of `processes` takes; they differ by one at most."""
    return range(count * process // processes, count * (process + 1) // processes)


def barrier() -> None:
    """Returns when every process has come here."""
    everyone(None)


def total(tensor: Tensor) -> Tensor:
    """The sum over all processes, the same bits on each."""
    return _reduced(tensor, "SUM")


def largest(tensor: Tensor) -> Tensor:
    """The elementwise maximum over all processes."""
    return _reduced(tensor, "MAX")


def broadcast(tensors: list[Tensor]) -> None:
    """Overwrites `tensors` with those of process 0."""
    if world_size() > 1:
        with watched():
            for tensor in tensors:
                sent = tensor.detach().contiguous()
                dist.broadcast(sent, 0)
                if sent.data_ptr() != tensor.data_ptr():
                    tensor.detach().copy_(sent)


def gather(rows: Tensor) -> Tensor:
    """(n_r, ...) on process r -> (n_0 + n_1 + ..., ...) on every process, in their order."""
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
    """The JSON-able value of each process, in their order, on every process."""
    if world_size() == 1:
        return [value]
    text = json.dumps(value).encode() + b"\n"
    found = gather(torch.frombuffer(bytearray(text), dtype=torch.uint8))
    return [json.loads(line) for line in found.numpy().tobytes().splitlines()]


def together(work: Callable[[], T]) -> T:
    """work() on every process; where one fails, all fail.

    A process raises its own error, or OtherProcessFailed where a process before it has the same
    one, or where it has none.
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
    """work() on process 0; its JSON-able result, or OtherProcessFailed, on the others."""
    result = together(work if is_main() else _nothing)
    told = everyone(result if is_main() else None)[0]
    return result if is_main() else told


@contextmanager
def watched() -> Iterator[None]:
    """Inside, what torch raises when another process is gone becomes ProcessLost."""
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
    if _joined():
        dist.destroy_process_group()
