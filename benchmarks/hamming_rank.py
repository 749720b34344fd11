"""How fast are exact searches by Hamming distance, beside other libraries and the machine's limit?

    python benchmarks/hamming_rank.py                  # the whole table, under 3 minutes
    python benchmarks/hamming_rank.py --quick          # small sizes: does everything run?
    python benchmarks/hamming_rank.py --csv benchmarks/results/hamming_rank.csv --plot hamming.png

Every engine of a case runs in turn, round after round; figures are medians over the rounds. A
peer's answer is compared with ours before it is timed. Peers: pip install -e '.[bench]'.
"""

import argparse
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from hamming_peers import PEERS, NotHere, Search, queries_for
from harness import command, environment, markdown_table, merge_rows

from semicon_fast import native

MANY = ("semicon_fast", "faiss", "usearch", "numkong", "numpy", "torch matmul")
FEW = ("semicon_fast", "faiss")


@dataclass(frozen=True)
class Case:
    """A row of the table for each engine. kind: "random", or "learned": 8 codes a class of 200."""

    name: str
    bits: int
    queries: int
    k: int
    codes: int
    engines: tuple[str, ...] = FEW
    kind: str = "random"


MILLION = 1_000_000
CASES = [
    Case("64 bits, 16 queries", 64, 16, 100, 4 * MILLION),
    Case("64 bits, 256 queries, k = 10", 64, 256, 10, 4 * MILLION),
    Case("64 bits, 256 queries", 64, 256, 100, 4 * MILLION, MANY),
    Case("64 bits, 256 queries, k = 1000", 64, 256, 1000, 4 * MILLION),
    Case("64 bits, 1000 queries", 64, 1000, 100, 4 * MILLION),
    Case("12 bits, 256 queries", 12, 256, 100, 4 * MILLION),
    Case("24 bits, 256 queries", 24, 256, 100, 4 * MILLION),
    Case("32 bits, 256 queries", 32, 256, 100, 4 * MILLION),
    Case("48 bits, 256 queries", 48, 256, 100, 4 * MILLION, MANY),
    Case("128 bits, 256 queries", 128, 256, 100, 4 * MILLION),
    Case("256 bits, 256 queries", 256, 256, 100, 4 * MILLION, MANY),
    Case("1024 bits, 256 queries", 1024, 256, 100, MILLION),
    Case("one query, 64 bits", 64, 1, 100, 64 * MILLION),
    Case("full ranking", 48, 1000, 29_200, 29_200, ("semicon_fast", "torch argsort")),
    Case("learned codes", 48, 256, 100, 10 * MILLION, FEW, "learned"),
]


def arguments(given: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="sizes divided by 64, one round")
    parser.add_argument("--only", default="", help="cases whose name contains this text")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--csv", type=Path, help="add the rows to this file")
    parser.add_argument("--plot", type=Path, help="write a bar chart")
    return parser.parse_args(given)


def draw(case: Case) -> tuple[np.ndarray, np.ndarray]:
    """(queries, database), packed, unused bits 0."""
    generator = np.random.default_rng(0)
    width = (case.bits + 7) // 8

    def codes(count: int) -> np.ndarray:
        made = np.frombuffer(generator.bytes(count * width), np.uint8).reshape(count, width).copy()
        if case.bits % 8:
            made[:, -1] &= (1 << case.bits % 8) - 1
        return made

    if case.kind == "random":
        return codes(case.queries), codes(case.codes)
    distinct = codes(8 * 200)
    return tuple(
        distinct[generator.integers(len(distinct), size=n)] for n in (case.queries, case.codes)
    )


def seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def read_bandwidth(megabytes: int) -> float:
    """Bytes a second that a sum over an array larger than the caches reads, best of five."""
    array = torch.zeros(megabytes << 17, dtype=torch.int64)
    return array.nbytes / min(seconds(array.sum) for _ in range(5))


def cache_limit(bits: int, threads: int) -> float:
    """Pairs a second where all codes stay in the first cache and no pair is wanted."""
    width = (bits + 7) // 8
    database = torch.zeros(max(64, 8192 // width), width, dtype=torch.uint8)
    queries = torch.full((8192 * threads, width), 255, dtype=torch.uint8)
    run = torch.ops.semicon_fast.hamming_range
    run(queries, database, 0)
    best = min(seconds(lambda: run(queries, database, 0)) for _ in range(5))
    return len(queries) * len(database) / best


def prepared(case: Case, threads: int) -> Iterator[tuple[str, Search, np.ndarray]]:
    """(engine, search, its queries), each warmed up and with distances equal to ours."""
    queries, database = draw(case)
    truth = None
    for engine in case.engines:
        try:
            search = PEERS[engine][0](database, threads)
        except NotHere as reason:
            print(f"  {engine} left out: {reason}")
            continue
        few = queries[: queries_for(engine, case.queries, case.codes)]
        found = search(few, case.k)
        if truth is None:
            truth = found
        elif found is not None and not np.array_equal(found.astype(np.int64), truth[: len(few)]):
            print(f"  {engine} left out: its distances are not the k smallest")
            continue
        yield engine, search, few


def measure(case: Case, rounds: int, threads: int, bandwidth: float) -> list[dict[str, Any]]:
    engines = list(prepared(case, threads))
    times: dict[str, list[float]] = {engine: [] for engine, _, _ in engines}
    for _ in range(rounds):
        for engine, search, queries in engines:
            time.sleep(0.05)  # OpenMP's threads spin for a while after a peer has returned
            times[engine].append(seconds(lambda s=search, q=queries: s(q, case.k)))
    limit = cache_limit(case.bits, threads)
    rows, own_rate = [], 0.0
    for engine, _, queries in engines:
        took = median(times[engine])
        rate = len(queries) * case.codes / took
        own_rate = own_rate or rate
        read = case.codes * ((case.bits + 7) // 8) / took
        rows.append(
            {
                "case": case.name,
                "engine": engine,
                "bits": case.bits,
                "queries": len(queries),
                "k": case.k,
                "codes": case.codes,
                "threads": threads,
                "isa": native.status()["isa"] or "reference",
                "seconds": took,
                "Gpairs_per_s": rate / 1e9,
                "Gcodes_per_s": case.codes / took / 1e9,
                "GB_per_s": read / 1e9,
                "bandwidth_GB_per_s": bandwidth / 1e9,
                "share_of_bandwidth": read / bandwidth,
                "share_of_cache_rate": rate / limit,
                "ours_over_it": own_rate / rate,
                **environment(),
                "command": command(),
            }
        )
    return rows


SHOWN = ("engine", "queries", "seconds", "Gpairs_per_s", "GB_per_s", "share_of_bandwidth")
SHOWN += ("share_of_cache_rate", "ours_over_it")


def plot(rows: list[dict[str, Any]], path: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    cases = list(dict.fromkeys(row["case"] for row in rows))
    engines = list(dict.fromkeys(row["engine"] for row in rows))
    figure, axes = pyplot.subplots(figsize=(9, 0.5 * len(cases) + 1.5), layout="constrained")
    height = 0.8 / len(engines)
    for i, engine in enumerate(engines):
        own = [row for row in rows if row["engine"] == engine]
        places = [cases.index(row["case"]) + (i - len(engines) / 2) * height for row in own]
        axes.barh(places, [row["Gpairs_per_s"] for row in own], height, label=engine)
    axes.set_yticks(range(len(cases)), cases)
    axes.invert_yaxis()
    axes.set_xscale("log")
    axes.set_xlabel("billion pairs a second")
    axes.set_title(f"{rows[0]['device']}, {rows[0]['threads']} threads")
    axes.legend()
    figure.savefig(path, dpi=150)


def main() -> None:
    options = arguments()
    torch.set_num_threads(options.threads)
    cases = [case for case in CASES if options.only in case.name]
    if options.quick:
        cases = [replace(c, codes=max(c.codes // 64, c.k)) for c in cases]
        options.rounds = 1
    native.load()
    bandwidth = read_bandwidth(64 if options.quick else 1024)
    print(
        f"{environment()['device']}, {options.threads} threads, {native.status()['isa']}; ", end=""
    )
    print(f"reads {bandwidth / 1e9:.1f} GB/s")
    rows: list[dict[str, Any]] = []
    for case in cases:
        print(f"\n{case.name}: {case.codes:,} {case.kind} codes of {case.bits} bits, k = {case.k}")
        found = measure(case, options.rounds, options.threads, bandwidth)
        body = [
            [f"{r[c]:.3g}" if isinstance(r[c], float) else str(r[c]) for c in SHOWN] for r in found
        ]
        print(markdown_table(list(SHOWN), body))
        rows += found
    if options.csv:
        merge_rows(options.csv, rows, ("case", "engine", "device", "threads"))
    if options.plot:
        plot(rows, options.plot)


if __name__ == "__main__":
    main()
