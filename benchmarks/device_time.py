"""Times of calls on a CUDA device: of the device alone, in a CUDA graph, and of the host alone."""

import time
from collections.abc import Callable
from statistics import median
from typing import Any

import torch

Run = Callable[[], Any]
WARM_UPS = 3
# Calls that are queued without waiting: far fewer kernels than a stream's queue holds.
QUEUED = 8


def captured(call: Run, device: torch.device) -> Run:
    """A function that replays `call` as a CUDA graph, without the host's work for it.

    Raises RuntimeError if the call waits for the device, which a graph cannot.
    """
    stream = torch.cuda.Stream(device)
    stream.wait_stream(torch.cuda.current_stream(device))
    # On another stream, as torch asks for: what is allocated once must not be in the graph.
    with torch.cuda.stream(stream):
        for _ in range(WARM_UPS):
            call()
    torch.cuda.current_stream(device).wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        call()
    return graph.replay


def device_seconds(call: Run, device: torch.device, at_least: float = 0.02) -> float:
    """Seconds of a call on the device, from events around enough calls to take `at_least`."""
    calls, took = 1, 0.0
    while took < at_least:
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record(torch.cuda.current_stream(device))
        for _ in range(calls):
            call()
        end.record(torch.cuda.current_stream(device))
        torch.cuda.synchronize(device)
        took, ran = start.elapsed_time(end) / 1e3, calls
        calls *= max(2, min(10, round(1.5 * at_least / max(took, 1e-6))))
    return took / ran


def host_seconds(call: Run, device: torch.device, rounds: int = 9) -> float:
    """Seconds until a call returns, while the device has nothing to do: Python, the dispatcher and
    the launches. The median of `rounds`."""
    times = []
    for _ in range(rounds):
        torch.cuda.synchronize(device)
        start = time.perf_counter()
        for _ in range(QUEUED):
            call()
        times.append((time.perf_counter() - start) / QUEUED)
    torch.cuda.synchronize(device)
    return median(times)
