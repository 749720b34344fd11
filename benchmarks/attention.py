"""How fast are ICON, SEM's mask and the whole network compared with the released code?

    python benchmarks/attention.py                       # CPU, a minute or two
    python benchmarks/attention.py --quick               # small: does everything run?
    python benchmarks/attention.py --csv benchmarks/results/attention.csv
    python benchmarks/attention.py --device cuda         # batches 16, 256, 64, fp32 and bf16

The released code is reimplemented here from its description: grouped convolutions, eager
operations, a loop over the parts. All engines of a case share one state dict, and they run
alternately in several rounds; times are medians. Before that, what an engine gives, gradients
included, is compared with the released code in float64: its error may be at most twice that of the
released code in the same dtype.

On a CUDA device a call is timed as a CUDA graph, which has the work of the device and none of the
host's; the host's is given beside it. The same memory is read each time, so that small cases stay
in the L2 cache.

On the CPU the time of a call depends on whether malloc still holds the pages of earlier tensors, so
both can be measured: "fresh", all are returned before each call; "kept", none ever (glibc only).
"""

import argparse
import ctypes
import gc
import sys
import time
from collections.abc import Callable
from functools import partial
from math import inf
from pathlib import Path
from statistics import median
from typing import Any

import torch
from attention_cases import CASES, Case, Engine, Output, cuda_cases
from device_time import captured, device_seconds, host_seconds
from harness import Cases, command, environment, markdown_table
from torch import Tensor

# Parameters of mallopt, from glibc's malloc.h.
TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3


def arguments(given: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="two images, one round")
    parser.add_argument("--only", default="", help="cases whose name contains this text")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--pages", choices=("fresh", "kept", "as they come"), default="fresh")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--seconds", type=float, default=inf, help="begin no case after this time")
    parser.add_argument("--csv", type=Path, help="add each case's rows to this file")
    return parser.parse_args(given)


def seconds(engine: Engine, pages: str = "", at_least: float = 0.02) -> float:
    """Time of one call on the CPU, over enough calls to take `at_least` seconds."""
    calls, took = 1, 0.0
    while took < at_least:
        if pages == "fresh":
            ctypes.CDLL(None).malloc_trim(0)
        start = time.perf_counter()
        for _ in range(calls):
            engine()
        took, ran = time.perf_counter() - start, calls
        calls *= max(2, min(10, round(1.5 * at_least / max(took, 1e-6))))
    return took / ran


class Clock:
    """Times the engines of a case: on the CPU the calls, on a CUDA device their replays as CUDA
    graphs, or the calls of an engine that no graph can hold."""

    def __init__(self, engines: dict[str, Engine], device: torch.device, pages: str) -> None:
        self._device, self._pages, self._runs = device, pages, dict(engines)
        self.timed = dict.fromkeys(engines, "calls")
        self.host = dict.fromkeys(engines, float("nan"))
        if device.type != "cuda":
            return
        for name, engine in engines.items():
            self.host[name] = host_seconds(engine, device)
            try:
                self._runs[name], self.timed[name] = captured(engine, device), "graph"
            except RuntimeError as error:
                print(f"  {name} is timed without a graph: {str(error).splitlines()[0]}")

    def seconds(self, name: str) -> float:
        if self._device.type == "cuda":
            return device_seconds(self._runs[name], self._device)
        return seconds(self._runs[name], self._pages)


def peak_mib(engine: Engine, device: str) -> float:
    """Peak memory that one call adds; nan where it cannot be measured."""
    gc.collect()
    if device.startswith("cuda"):
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        engine()
        return (torch.cuda.max_memory_allocated() - before) / 2**20
    status, reset = Path("/proc/self/status"), Path("/proc/self/clear_refs")
    try:
        # Free memory that the allocator keeps would hide new allocations.
        ctypes.CDLL(None).malloc_trim(0)
        reset.write_text("5")
        before = _kib(status, "VmHWM")
        engine()
        return (_kib(status, "VmHWM") - before) / 1024
    except (OSError, AttributeError):
        return float("nan")


def _kib(status: Path, name: str) -> int:
    lines = status.read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name))


def bandwidth(device: str) -> float:
    """Bytes per second (read and written) of a copy larger than the caches; best of five."""
    source = torch.zeros(2**28 if device.startswith("cuda") else 2**26, device=device)
    target = torch.empty_like(source)
    copy: Callable[[], Any] = lambda: target.copy_(source)  # noqa: E731
    copy()
    if device.startswith("cuda"):
        times = [device_seconds(copy, torch.device(device)) for _ in range(5)]
    else:
        times = [seconds(copy) for _ in range(5)]
    return 2 * source.nbytes / min(times)


def wrong(engines: dict[str, Engine], truth: Engine) -> dict[str, str]:
    """Engines whose error exceeds twice the first one's, each with a sentence of how much.

    The first is the released code in the dtype of all, and `truth` the same in float64. Whole
    tensors are compared, not single values: the square root is so steep near a logit of 0 that
    those differ with the order of summation.
    """
    exact = _tensors(truth())
    outputs = {name: _tensors(engine()) for name, engine in engines.items()}
    first, *others = outputs
    found = {}
    for name in others:
        for plain, own, true in zip(outputs[first], outputs[name], exact, strict=True):
            eps = torch.finfo(own.dtype).eps
            allowed = 2 * (plain.double() - true).norm() + eps * true.norm()
            error = (own.double() - true).norm()
            if not error <= allowed:  # NaN is wrong too
                found[name] = f"its error is {error:.1e} of float64, where {allowed:.1e} is allowed"
    return found


def _tensors(output: Output) -> tuple[Tensor, ...]:
    return (output,) if isinstance(output, Tensor) else output


def measure(
    case: Case, options: argparse.Namespace, rate: float, fail: Callable[[str], None]
) -> list[dict[str, Any]]:
    engines, truth, moved = case.build()
    for name, reason in wrong(engines, truth).items():
        print(f"  {name} left out: {reason}")
        del engines[name]
        if name.startswith("semicon_fast"):
            fail(f"{case}, {name}")
    del truth  # a network in float64
    clock = Clock(engines, torch.device(options.device), options.pages)
    times: dict[str, list[float]] = {name: [] for name in engines}
    for _ in range(options.rounds + 1):
        for name in engines:
            times[name].append(clock.seconds(name))
    first, *_ = engines
    rows = []
    for name, engine in engines.items():
        took = median(times[name][1:])
        rows.append(
            {
                "case": case.name,
                "engine": name,
                "batch": case.batch,
                "dtype": str(case.dtype).removeprefix("torch."),
                "threads": options.threads,
                "pages": options.pages,
                "timed": clock.timed[name],
                "milliseconds": 1e3 * took,
                "host_milliseconds": 1e3 * clock.host[name],
                "released_over_it": median(
                    a / b for a, b in zip(times[first][1:], times[name][1:], strict=True)
                ),
                "peak_MiB": peak_mib(engine, options.device),
                "share_of_bandwidth": moved / took / rate if moved else float("nan"),
                **environment(options.device),
                "command": command(),
            }
        )
    return rows


KEY = ("case", "engine", "batch", "dtype", "pages", "device", "threads")
SHOWN = ("engine", "batch", "dtype", "milliseconds", "host_milliseconds", "released_over_it")
SHOWN += ("peak_MiB", "share_of_bandwidth")


def main() -> None:
    options = arguments()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    cuda = options.device.startswith("cuda")
    if cuda:
        torch.cuda.set_device(torch.device(options.device).index or 0)
    if cuda or not sys.platform.startswith("linux"):
        options.pages = "as they come"
    if options.pages == "kept":
        for knob in (MMAP_THRESHOLD, TRIM_THRESHOLD):
            ctypes.CDLL(None).mallopt(knob, 2**30)
    # No TF32: float32 is full precision for all engines.
    torch.backends.cudnn.allow_tf32 = False
    cases = cuda_cases(options.device) if cuda else CASES
    cases = [case for case in cases if options.only in case.name]
    if options.quick:
        cases = [case.small() for case in cases]
        options.rounds = 1
    rate = bandwidth(options.device)
    print(f"{environment(options.device)['device']}, {options.threads} threads; ", end="")
    print(f"copies at {rate / 1e9:.1f} GB/s")
    through = Cases(options.csv, KEY, options.seconds)
    for case in cases:
        print(f"\n{case}", flush=True)
        rows = through.measure(str(case), partial(measure, case, options, rate, through.fail))
        if rows:
            body = [
                [f"{r[c]:.3g}" if isinstance(r[c], float) else str(r[c]) for c in SHOWN]
                for r in rows
            ]
            print(markdown_table(list(SHOWN), body), flush=True)
        if cuda:
            torch._dynamo.reset()  # or a network's engines keep those of the cases before
            gc.collect()
            torch.cuda.empty_cache()
    through.end()


if __name__ == "__main__":
    main()
