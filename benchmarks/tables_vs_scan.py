"""Where does search in tables beat the scan, and does `method="auto"` choose well?

    python benchmarks/tables_vs_scan.py --csv benchmarks/results/tables_vs_scan.csv
    python benchmarks/tables_vs_scan.py --quick         # a million codes, one round
    python benchmarks/tables_vs_scan.py --sizes 1e6,1e7,1e8 --kinds uniform    # break-even
    python benchmarks/tables_vs_scan.py --pairs 1e7     # all pairs within radius 2 instead

One query at a time against 64-bit codes: the k nearest and all within a radius, by the scan, by
tables and by "auto", and by faiss's IndexBinaryMultiHash with as many hash functions as there are
tables and nflip 1, which is not exact: its recall is the share of the scan's distances, by count,
that it finds. Times are medians over all queries and rounds, engines in turn, each after a scan.
"clustered" codes lie around 1,000 centers with 0 to 12 bits flipped, as those of a trained
network lie around its classes; the queries are made likewise. faiss: pip install -e '.[bench]'.
"""

import argparse
import resource
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from harness import command, environment, markdown_table, merge_rows

from semicon_fast import HammingIndex, native
from semicon_fast.search import groups_within, pairs_within

CENTERS, FLIPS = 1000, 12
NEAREST, RADII = (1, 10, 100), range(7)
KEY = ("kind", "codes", "task", "engine", "device", "threads")
SHOWN = ("task", "engine", "milliseconds", "over_scan", "over_better", "recall")

Search = Callable[[np.ndarray], np.ndarray]


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a million codes, one round")
    parser.add_argument("--sizes", default="1e8", help="numbers of codes, separated by commas")
    parser.add_argument("--kinds", default="uniform,clustered")
    parser.add_argument("--queries", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--tables", type=int, help="number of tables; by default the library's")
    parser.add_argument("--no-faiss", action="store_true", help="leave faiss out: it needs 8 GB")
    parser.add_argument("--pairs", help="find all pairs within --radius of so many codes instead")
    parser.add_argument("--radius", type=int, default=2)
    parser.add_argument("--csv", type=Path, help="add the rows to this file")
    return parser.parse_args()


def draw(kind: str, count: int, seed: int) -> np.ndarray:
    """Packed 64-bit codes, uint8 (count, 8)."""
    rng = np.random.default_rng(seed)
    if kind == "uniform":
        return np.frombuffer(rng.bytes(8 * count), np.uint8).reshape(count, 8)
    centers = np.random.default_rng(0).integers(0, 2**64, CENTERS, np.uint64)
    codes = centers[rng.integers(0, CENTERS, count)]
    for _ in range(FLIPS):
        flipped = np.uint64(1) << rng.integers(0, 64, count, np.uint64)
        codes ^= np.where(rng.random(count, np.float32) < 0.5, flipped, np.uint64(0))
    return codes.view(np.uint8).reshape(count, 8)


def faiss_index(codes: np.ndarray, tables: int) -> Any:
    """IndexBinaryMultiHash with the codes, or None with a sentence."""
    try:
        import faiss
    except ImportError as error:
        print(f"faiss left out: {error}")
        return None
    faiss.omp_set_num_threads(torch.get_num_threads())
    index = faiss.IndexBinaryMultiHash(64, tables, 64 // tables)
    index.nflip = 1
    index.add(codes)
    return index


def engines(index: HammingIndex, peer: Any, task: str, number: int) -> dict[str, Search]:
    """Each gives the distances that it finds for one query, ascending."""

    def own(method: str) -> Search:
        if task == "nearest":
            return lambda query: index.search(query, number, method=method)[0][0]
        return lambda query: index.range_search(query, number, method=method)[1]

    found = {method: own(method) for method in ("scan", "tables", "auto")}
    if peer is not None:
        # faiss's radius is exclusive.
        found["faiss MultiHash"] = (
            (lambda query: peer.search(query, number)[0][0])
            if task == "nearest"
            else (lambda query: np.sort(peer.range_search(query, number + 1)[1]))
        )
    return found


def recall(found: np.ndarray, truth: np.ndarray) -> float:
    """Share of the true distances, with repetitions, that were found; 1 if there are none."""
    if not len(truth):
        return 1.0
    counts = [
        np.bincount(np.asarray(d, np.int64).clip(0, 65), minlength=66) for d in (found, truth)
    ]
    return float(np.minimum(*counts).sum() / len(truth))


def measure(kind: str, count: int, options: argparse.Namespace) -> list[dict[str, Any]]:
    index, codes = HammingIndex(64), draw(kind, count, 1)
    index.add(codes)
    start = time.perf_counter()
    index.build_tables(options.tables)
    built = time.perf_counter() - start
    tables = len(index._store.tables.tables.pieces)
    print(
        f"\n{count:,} {kind} codes: {tables} tables in {built:.1f} s (with what a first call on "
        f"this machine measures), {index.tables_nbytes / 1e9:.2f} GB"
    )
    before = resident()
    peer = None if options.no_faiss else faiss_index(codes, tables)
    peer_bytes = resident() - before
    queries = draw(kind, options.queries, 2)
    rows: list[dict[str, Any]] = []
    for task, numbers in (("nearest", NEAREST), ("radius", RADII)):
        for number in numbers:
            searches = engines(index, peer, task, number)
            times: dict[str, list[float]] = {name: [] for name in searches}
            shares: dict[str, list[float]] = {name: [] for name in searches}
            for query in np.split(queries, len(queries)):
                truth = searches["scan"](query)
                for name, search in searches.items():
                    found = search(query)
                    assert "faiss" in name or np.array_equal(found, truth), (name, task, number)
                    shares[name].append(recall(found, truth))
                for _ in range(options.rounds):
                    for name, search in searches.items():
                        searches["scan"](query)  # nothing of the tables is left in the caches
                        start = time.perf_counter()
                        search(query)
                        times[name].append(time.perf_counter() - start)
            took = {name: 1e3 * median(t) for name, t in times.items()}
            better = min(took["scan"], took["tables"])
            memory = {"tables": index.tables_nbytes, "auto": index.tables_nbytes}
            rows += [
                {
                    "kind": kind,
                    "codes": count,
                    "task": f"k = {number}" if task == "nearest" else f"radius {number}",
                    "engine": name,
                    "tables": tables,
                    "milliseconds": took[name],
                    "over_scan": took["scan"] / took[name],
                    "over_better": took[name] / better,
                    "recall": float(np.mean(shares[name])),
                    "extra_bytes": memory.get(name, 0 if name == "scan" else peer_bytes),
                    "build_seconds": built,
                    "threads": torch.get_num_threads(),
                    "isa": native.status()["isa"] or "reference",
                    **environment(),
                    "command": command(),
                }
                for name in took
            ]
    return rows


def resident() -> int:
    """Bytes of memory that this process has now."""
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * resource.getpagesize()


def all_pairs(count: int, radius: int) -> None:
    """Uniform codes, a tenth of them a bit off another one; checked for a sample by brute force."""
    rng = np.random.default_rng(0)
    codes = draw("uniform", count, 1).copy().view(np.uint64).reshape(-1)
    places = np.arange(0, count - 1, 10)
    codes[places] = codes[places + 1] ^ (
        np.uint64(1) << rng.integers(0, 64, len(places), np.uint64)
    )
    index = HammingIndex(64)
    index.add(codes.view(np.uint8).reshape(count, 8))
    for name, run in (("pairs", pairs_within), ("groups", groups_within)):
        start = time.perf_counter()
        found = run(index, radius)
        seconds = time.perf_counter() - start
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
        size = len(found.ids) if name == "pairs" else len(found.lims) - 1
        print(
            f"{size:,} {name} within radius {radius} of {count:,} codes: {seconds:.1f} s, ", end=""
        )
        print(f"peak {peak:.2f} GB, {torch.get_num_threads()} threads")
        if name == "pairs":
            check_sample(index, found.ids, found.distances, radius, rng)


def check_sample(
    index: HammingIndex, ids: np.ndarray, distances: np.ndarray, radius: int, rng: Any
) -> None:
    """Asserts that the pairs of 200 codes are those that a scan finds."""
    sample = np.concatenate(
        [rng.integers(0, len(index), 100), 10 * rng.integers(0, len(index) // 10, 100)]
    )
    sample = np.unique(sample)
    lims, near, found = index.range_search(index.reconstruct(sample), radius, method="scan")
    for row, code in enumerate(sample):
        own = slice(lims[row], lims[row + 1])
        wanted = {(int(i), int(d)) for i, d in zip(found[own], near[own], strict=True) if i != code}
        mine = (ids == code).any(1)
        others = ids[mine].sum(1) - code
        assert wanted == set(zip(others.tolist(), distances[mine].tolist(), strict=True)), code
    print(f"equal to brute force for {len(sample)} codes")


def main() -> None:
    options = arguments()
    if options.quick:
        options.sizes, options.rounds, options.queries = "1e6", 1, 3
    print(f"{environment()['device']}, {torch.get_num_threads()} threads, ", end="")
    native.load()
    print(native.status()["isa"])
    if options.pairs:
        return all_pairs(int(float(options.pairs)), options.radius)
    rows: list[dict[str, Any]] = []
    for kind in options.kinds.split(","):
        for size in options.sizes.split(","):
            found = measure(kind, int(float(size)), options)
            cells = [[f"{r[c]:.3g}" if isinstance(r[c], float) else str(r[c]) for c in SHOWN]
                     for r in found]  # fmt: skip
            print(markdown_table(list(SHOWN), cells), flush=True)
            rows += found
    worst = max(row["over_better"] for row in rows if row["engine"] == "auto")
    print(f"\nauto takes at most {worst:.2f} times as long as the better of scan and tables")
    if options.csv:
        merge_rows(options.csv, rows, KEY)


if __name__ == "__main__":
    main()
