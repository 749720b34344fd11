"""How fast are ICON, SEM's mask and the whole network compared with the released code?

    python benchmarks/attention.py                       # CPU, a minute or two
    python benchmarks/attention.py --quick               # small: does everything run?
    python benchmarks/attention.py --csv benchmarks/results/attention.csv
    python benchmarks/attention.py --device cuda         # batches 16, 64, 256, fp32 and bf16

The released code is reimplemented here from its description: grouped convolutions, eager
operations, a loop over the parts. All engines of a case share one state dict, their outputs are
compared before they are timed, and they run alternately in several rounds; times are medians.

On the CPU the time of a call depends on whether malloc still holds the pages of earlier tensors, so
both can be measured: "fresh", all are returned before each call; "kept", none ever (glibc only).
"""

import argparse
import ctypes
import gc
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import torch
from attention_cases import CASES, Case, Engine, Output, cuda_cases
from harness import command, environment, markdown_table, merge_rows
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
    parser.add_argument("--csv", type=Path, help="add the rows to this file")
    return parser.parse_args(given)


def seconds(engine: Engine, device: str, pages: str = "", at_least: float = 0.02) -> float:
    """Time of one call, over enough calls to take `at_least` seconds, so that a GPU stays busy."""
    calls, took = 1, 0.0
    while took < at_least:
        if pages == "fresh":
            ctypes.CDLL(None).malloc_trim(0)
        _wait(device)
        start = time.perf_counter()
        for _ in range(calls):
            engine()
        _wait(device)
        took, ran = time.perf_counter() - start, calls
        calls *= max(2, min(10, round(1.5 * at_least / max(took, 1e-6))))
    return took / ran


def _wait(device: str) -> None:
    if device.startswith("cuda"):
        torch.cuda.synchronize()


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
    return 2 * source.nbytes / min(seconds(copy, device) for _ in range(5))


def agree(engines: dict[str, Engine], case: Case) -> None:
    """Raises ValueError if an engine's output differs from the first one's beyond the tolerance.

    The mean difference is compared, not the largest one: the square root is so steep near a logit
    of 0 that single values differ with the order of summation.
    """
    outputs = {name: _flat(engine()) for name, engine in engines.items()}
    first, *_ = outputs.values()
    for name, output in outputs.items():
        distance = (output - first).abs().mean() / first.abs().mean()
        if not distance <= case.tolerance:
            raise ValueError(f"{case.name}: {name} differs by {distance:.1e} of the mean")


def _flat(output: Output) -> Tensor:
    tensors = (output,) if isinstance(output, Tensor) else output
    return torch.cat([t.flatten().double() for t in tensors])


def measure(case: Case, options: argparse.Namespace, rate: float) -> list[dict[str, Any]]:
    device, pages = options.device, options.pages
    engines, moved = case.build()
    agree(engines, case)
    times: dict[str, list[float]] = {name: [] for name in engines}
    for _ in range(options.rounds + 1):
        for name, engine in engines.items():
            times[name].append(seconds(engine, device, pages))
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
                "pages": pages,
                "milliseconds": 1e3 * took,
                "released_over_it": median(
                    a / b for a, b in zip(times[first][1:], times[name][1:], strict=True)
                ),
                "peak_MiB": peak_mib(engine, device),
                "share_of_bandwidth": moved / took / rate if moved else float("nan"),
                **environment(device),
                "command": command(),
            }
        )
    return rows


SHOWN = ("engine", "batch", "dtype", "milliseconds", "released_over_it", "peak_MiB")
SHOWN += ("share_of_bandwidth",)


def main() -> None:
    options = arguments()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    cuda = options.device.startswith("cuda")
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
    rows: list[dict[str, Any]] = []
    for case in cases:
        print(f"\n{case.name}")
        found = measure(case, options, rate)
        body = [
            [f"{r[c]:.3g}" if isinstance(r[c], float) else str(r[c]) for c in SHOWN] for r in found
        ]
        print(markdown_table(list(SHOWN), body), flush=True)
        rows += found
    if options.csv:
        merge_rows(
            options.csv, rows, ("case", "engine", "batch", "dtype", "pages", "device", "threads")
        )


if __name__ == "__main__":
    main()
