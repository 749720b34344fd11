"""How fast is exact Hamming search on a GPU, compared with its limits and other libraries?

    python benchmarks/hamming_rank.py --device cuda                # under 8 minutes
    python benchmarks/hamming_rank.py --device cuda --quick        # does everything run?
    python benchmarks/hamming_cuda.py --device cpu --quick         # this script without a GPU

Times are medians of CUDA event timings after a warm-up. Every engine's distances are compared with
ours (by the automatically chosen path) before it is timed. Two limits are measured in the same run:
copying within the device's memory (bytes read and written), and the inner loop of the path alone,
with its codes in shared memory and no results to keep. Rows are written as soon as a case is done.
"""

import argparse
import gc
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import hamming_cuda_engines as engines
import numpy as np
import torch
from hamming_cuda_cases import PROBLEMS, Problem, draw, draw_labels, fitted, quick
from hamming_peers import NotHere
from hamming_rows import KEY, SHOWN, row, shown
from harness import Cases, environment, markdown_table

import semicon_fast as sf
from semicon_fast import native

Run = Callable[[], Any]
Fail = Callable[[str], None]


class Clock:
    """Measures the seconds of a call, by CUDA events on a CUDA device."""

    def __init__(self, device: str) -> None:
        self.on_device = device.startswith("cuda")

    def seconds(self, work: Run) -> float:
        if not self.on_device:
            start = time.perf_counter()
            work()
            return time.perf_counter() - start
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        torch.cuda.synchronize()
        start.record()
        work()
        end.record()
        torch.cuda.synchronize()
        return start.elapsed_time(end) / 1e3

    def several(self, work: Run, rounds: int) -> list[float]:
        """Times of `rounds` calls after a warm-up; more if they are short, one if over 5 s."""
        first = self.seconds(work)
        if first > 5 or rounds == 1:
            return [self.seconds(work) if first <= 5 else first]
        return [self.seconds(work) for _ in range(max(rounds, min(20, int(0.1 / first))))]


def copy_bandwidth(device: str, clock: Clock, megabytes: int) -> float:
    """Bytes per second (read and written) of a copy within the device's memory."""
    source = torch.zeros(megabytes << 20, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    return 2 * source.nbytes / min(clock.several(lambda: target.copy_(source), 5))


def loop_rate(path: str, bits: int, device: str, clock: Clock) -> float:
    """Pairs per second of a path's inner loop alone; nan if the path has none on this device."""
    if path not in ("popcount", "binary", "int8") or path not in engines.paths(device):
        return float("nan")
    on = torch.empty(0, device=device)

    def compare(iterations: int) -> float:
        size = (bits + 7) // 8
        return float(torch.ops.semicon_fast._cuda_compare_only(on, path, size, iterations))

    few = 8
    clock.seconds(lambda: compare(few))
    # About 20 ms.
    iterations = max(few, int(0.02 * few / max(clock.seconds(lambda: compare(few)), 1e-6)))
    pairs = compare(iterations)
    return pairs / min(clock.seconds(lambda: compare(iterations)) for _ in range(3))


def searches(problem: Problem, device: str, fail: Fail) -> Iterator[tuple[str, str, Run]]:
    """(engine, path, run) for each engine whose distances equal those of the first.

    Of our own engines none may be left out, but for a path that the device does not have.
    """
    queries, database = draw(problem, device)
    index = sf.HammingIndex(8 * queries.shape[1], device)
    index.add(database)
    truth: np.ndarray | None = None
    for engine in problem.engines:
        name, _, way = engine.partition(", ")
        try:
            if name == "semicon_fast":
                run = engines.own(problem, index, queries, way)
            elif name == "torch matmul + topk":
                run = engines.matmul(problem, queries, database)
            else:
                run = engines.faiss(problem, queries, database, way)
            found = engines.as_distances(run())
        except (NotHere, RuntimeError, MemoryError) as reason:
            print(f"  {engine} left out: {str(reason).splitlines()[0]}")
            if name == "semicon_fast" and not isinstance(reason, NotHere):
                fail(f"{problem.name}, {engine}")
            continue
        truth = found if truth is None else truth
        if not np.array_equal(found, truth):
            print(f"  {engine} left out: its distances are not the k smallest")
            if name == "semicon_fast":
                fail(f"{problem.name}, {engine}")
            continue
        taken = engines.path_taken(problem, queries, way) if name == "semicon_fast" else ""
        yield engine, taken, run


def evaluations(problem: Problem, device: str, _: Fail) -> Iterator[tuple[str, str, Run]]:
    codes, labels = draw(problem, device), draw_labels(problem, device)
    for engine in problem.engines:
        yield engine, "", engines.evaluation(problem, codes, labels, engine.rpartition(" ")[2])


def measure(
    problem: Problem, options: argparse.Namespace, clock: Clock, fail: Fail
) -> list[dict[str, Any]]:
    device = options.device
    bandwidth = copy_bandwidth(device, clock, 16 if options.quick else 4096)
    rows: list[dict[str, Any]] = []
    engines_of = evaluations if problem.evaluation else searches
    for engine, path, run in engines_of(problem, device, fail):
        rows.append(
            row(
                problem,
                engine,
                problem.queries,
                clock.several(run, options.rounds),
                bandwidth=bandwidth,
                limit=loop_rate(path, problem.bits, device, clock),
                own_rate=1e9 * rows[0]["Gpairs_per_s"] if rows else None,
                threads=torch.get_num_threads(),
                isa=path,
                device=device,
            )
        )
    return rows


def free_bytes(device: str) -> int:
    return torch.cuda.mem_get_info(device)[0] if device.startswith("cuda") else 8 << 30


def run(options: argparse.Namespace) -> None:
    clock = Clock(options.device)
    if clock.on_device:
        torch.cuda.set_device(torch.device(options.device).index or 0)
    print(environment(options.device)["device"], native.cuda_status()["backend"] or "no CUDA")
    cases = Cases(options.csv, KEY, options.seconds)
    for problem in (problem for problem in PROBLEMS if options.only in problem.name):
        rows = cases.measure(problem.name, partial(one, problem, options, clock, cases.fail))
        if rows:
            print(markdown_table(list(SHOWN), shown(rows)), flush=True)
    cases.end()


def one(
    problem: Problem, options: argparse.Namespace, clock: Clock, fail: Fail
) -> list[dict[str, Any]]:
    gc.collect()
    if clock.on_device:
        torch.cuda.empty_cache()
    problem = fitted(quick(problem) if options.quick else problem, free_bytes(options.device))
    print(f"\n{problem.name}: {problem.queries:,} of {problem.codes:,}, k = {problem.k:,}")
    return measure(problem, options, clock, fail)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--quick", action="store_true", help="small sizes, one round")
    parser.add_argument("--only", default="", help="cases whose name contains this text")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=450, help="begin no case after this time")
    parser.add_argument("--csv", type=Path, help="add each case's rows to this file")
    run(parser.parse_args())


if __name__ == "__main__":
    main()
