"""How fast is exact Hamming search, compared with other libraries and the machine's limits?

    python benchmarks/hamming_rank.py                  # the whole table, under 3 minutes
    python benchmarks/hamming_rank.py --quick          # small sizes: does everything run?
    python benchmarks/hamming_rank.py --csv benchmarks/results/hamming_rank.csv
    python benchmarks/hamming_rank.py --device cuda    # runs hamming_cuda.py instead

The engines of a case run alternately in several rounds; times are medians over all calls. Results
of other libraries are compared with ours before they are timed. Two limits are measured with each
case: how fast memory can be read, and how fast the scan's inner loop is alone, with its codes in
the L1 cache and no results to keep. Other libraries: pip install -e '.[bench]'.
"""

import argparse
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from math import inf
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from hamming_cases import CASES, Case, draw
from hamming_evaluation import evaluation
from hamming_peers import PEERS, NotHere, queries_for
from hamming_rows import KEY, SHOWN, row, shown
from harness import Cases, environment, markdown_table

from semicon_fast import native
from semicon_fast.search._huge_pages import prefer_large_pages

Run = Callable[[], Any]


def arguments(given: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="sizes divided by 64, one round")
    parser.add_argument("--only", default="", help="cases whose name contains this text")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--device", default="cpu", help="cpu, or a CUDA device")
    parser.add_argument("--seconds", type=float, default=inf, help="begin no case after this time")
    parser.add_argument("--csv", type=Path, help="add each case's rows to this file")
    parser.add_argument("--plot", type=Path, help="write a bar chart (.png, .svg, .pdf)")
    return parser.parse_args(given)


def seconds(work: Run) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


class Memory:
    """Measures the memory bandwidth in every round, by summing an array larger than the caches."""

    def __init__(self, megabytes: int) -> None:
        self.array = torch.empty(megabytes << 17, dtype=torch.int64)
        prefer_large_pages(self.array)  # as in our index
        self.array.zero_()
        self.rates: list[float] = []

    def read(self) -> None:
        self.rates.append(self.array.nbytes / seconds(lambda: self.array.sum().item()))

    def bandwidth(self) -> float:
        """Bytes per second, the median of the reads since the last call."""
        rate, self.rates = median(self.rates), []
        return rate


def loop_rate(bits: int) -> float:
    """Pairs per second of the scan's inner loop alone, best of five; nan without native kernels."""
    if not native.load():
        return float("nan")
    return max(torch.ops.semicon_fast._scan_rate((bits + 7) // 8, 0.05) for _ in range(5))


def searches(case: Case, options: argparse.Namespace) -> Iterator[tuple[str, Run, int]]:
    """(engine, run, number of queries) for each engine whose distances equal ours, warmed up."""
    queries, database = draw(case)
    truth = None
    for engine in case.engines:
        make = PEERS[engine][0]
        try:
            search = make(database, options.threads)
        except NotHere as reason:
            print(f"  {engine} left out: {reason}")
            continue
        few = queries[: queries_for(engine, case.queries, case.codes)]
        found = search(few, case.k)
        if truth is None:
            truth = found.copy()
        elif found is not None and not np.array_equal(found.astype(np.int64), truth[: len(few)]):
            print(f"  {engine} left out: its distances are not the k smallest")
            continue
        yield engine, lambda search=search, few=few: search(few, case.k), len(few)


def evaluations(case: Case) -> Iterator[tuple[str, Run, int]]:
    """Like `searches`; mAP may differ by a twentieth, since the loop orders ties differently."""
    truth = None
    for engine in case.engines:
        run, count = evaluation(engine, case)
        found = run(min(count, 100))
        truth = found if truth is None else truth
        if abs(found - truth) > truth / 20:
            print(f"  {engine} left out: its mAP is {found}, ours {truth}")
            continue
        yield engine, lambda run=run, count=count: run(count), count


def measure(case: Case, options: argparse.Namespace, memory: Memory) -> list[dict[str, Any]]:
    engines = list(evaluations(case) if case.evaluation else searches(case, options))
    times: dict[str, list[float]] = {engine: [] for engine, _, _ in engines}
    for _ in range(options.rounds):
        memory.read()
        for engine, run, _ in engines:
            time.sleep(0.05)  # OpenMP threads of the previous engine still spin for a while
            times[engine].append(seconds(run))
            # Repeat short calls, so that a single interruption does not affect the median.
            again = min(6, int(0.1 / times[engine][-1])) if options.rounds > 1 else 0
            times[engine] += [seconds(run) for _ in range(again)]
    limit, bandwidth = loop_rate(case.bits), memory.bandwidth()
    rows: list[dict[str, Any]] = []
    for engine, _, queries in engines:
        rows.append(
            row(
                case,
                engine,
                queries,
                times[engine],
                bandwidth=bandwidth,
                limit=limit,
                own_rate=1e9 * rows[0]["Gpairs_per_s"] if rows else None,
                threads=options.threads,
                isa=native.status()["isa"] or "reference",
                device="cpu",
            )
        )
    return rows


def main() -> None:
    options = arguments()
    if options.device != "cpu":
        from hamming_cuda import run

        return run(options)
    torch.set_num_threads(options.threads)
    cases = [case for case in CASES if options.only in case.name]
    if options.quick:
        cases = [
            replace(c, codes=max(c.codes // 64, c.k), queries=min(c.queries, 500)) for c in cases
        ]
        options.rounds = 1
    native.load()
    memory = Memory(64 if options.quick else 512)
    print(f"{environment()['device']}, {options.threads} threads, ", end="")
    print(native.status()["isa"])
    through = Cases(options.csv, KEY, options.seconds)
    for case in cases:
        print(f"\n{case.name}: {case.codes:,} {case.kind} codes of {case.bits} bits, k = {case.k}")
        rows = through.measure(case.name, partial(measure, case, options, memory))
        if rows:
            print(markdown_table(list(SHOWN), shown(rows)))
    if options.plot:
        from hamming_plot import plot

        plot([{c: str(v) for c, v in row.items()} for row in through.rows], options.plot)
    through.end()


if __name__ == "__main__":
    main()
