"""Asymmetric search beside the plain product in float32, and what the order of its scores is worth.

Time: the 10 largest scores of 64 outputs each against 4 million codes, by look-up tables
(`HammingIndex.search(outputs=...)`) and as a product of the outputs with the codes as float32 of -1
and +1, which need 32 times the memory, followed by torch.topk; and the search of the codes' own
distances. The ids are compared: those of the product may differ where scores are equal within its
rounding. Recall (with --features): recall@10 against exact float search of codes and of outputs.

    python benchmarks/asymmetric.py
    python benchmarks/asymmetric.py --features features.npz
"""

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from harness import RESULTS, command, environment, merge_rows

from semicon_fast import HammingIndex, metrics, shallow
from semicon_fast.codes import pack_codes, unpack_codes
from semicon_fast.data import open_vectors
from semicon_fast.data.vectors import held_out
from semicon_fast.search import nearest_neighbours

K = 10
KEY = ("data", "codes", "bits", "queries", "engine", "threads")


def median_ms(run: Callable[[], Any], rounds: int) -> float:
    run()
    times = []
    for _ in range(rounds):
        began = time.perf_counter()
        run()
        times.append(time.perf_counter() - began)
    return 1e3 * statistics.median(times)


def timed(given: argparse.Namespace) -> list[dict[str, Any]]:
    draws = torch.Generator().manual_seed(0)
    index = HammingIndex(given.bits)
    codes = torch.randint(
        0, 256, (given.codes, given.bits // 8), dtype=torch.uint8, generator=draws
    )
    index.add(codes)
    signs = torch.cat([unpack_codes(c, given.bits).float() for c in codes.split(1 << 18)])
    rows = []
    for count in given.queries:
        outputs = torch.randn(count, given.bits, generator=draws)
        packed = pack_codes(outputs)
        engines: dict[str, Callable[[], Any]] = {
            "float32 product and topk": lambda o=outputs: (o @ signs.T).topk(K),
            "float32 product alone": lambda o=outputs: o @ signs.T,
            "look-up tables": lambda o=outputs: index.search(outputs=o, k=K),
            "Hamming distance of codes": lambda p=packed: index.search(p, K),
        }
        wanted, ids = engines["float32 product and topk"]()
        scores, own = engines["look-up tables"]()
        # Both sums err by at most this; where ids differ, scores must be as close as that.
        allowed = 2 * given.bits * 2.0**-24 * outputs.abs().sum(1, keepdim=True)
        if not ((scores - wanted).abs() <= allowed).all():
            raise SystemExit("the scores are not those of the product")
        same = float((ids == own).float().mean())
        for name, run in engines.items():
            ms = median_ms(run, given.rounds) / count
            rows.append({"data": "uniform", "codes": given.codes, "bits": given.bits,
                         "queries": count, "engine": name, "threads": given.threads,
                         "ms_a_query": ms, "same_ids": same, "recall@10": np.nan})  # fmt: skip
            print(rows[-1], flush=True)
    return rows


def recalled(given: argparse.Namespace) -> list[dict[str, Any]]:
    split = held_out(open_vectors(given.features).array(), 1000, 0)
    queries, database = (torch.from_numpy(np.asarray(rows, np.float32)) for rows in split)
    truth = nearest_neighbours(queries, database, K)
    rows = []
    for bits in (64, 128, 256):
        hasher = shallow.build("itq", bits, seed=0).fit(database)
        index = HammingIndex(bits)
        index.add(hasher.encode(database))
        found = {
            "codes": index.search(hasher.encode(queries), K)[1],
            "outputs": index.search(outputs=hasher.project(queries), k=K)[1],
        }
        for name, ids in found.items():
            recall = metrics.neighbour_recall(ids, queries, database, (K,), truth=truth)[K]
            rows.append({"data": Path(given.features).stem, "codes": len(database), "bits": bits,
                         "queries": len(queries), "engine": name, "threads": given.threads,
                         "ms_a_query": np.nan, "same_ids": np.nan,
                         "recall@10": recall})  # fmt: skip
            print(rows[-1], flush=True)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--features", help="file of vectors: measure recall in place of time")
    parser.add_argument("--codes", type=int, default=4_000_000)
    parser.add_argument("--bits", type=int, default=64)
    parser.add_argument("--queries", type=int, nargs="+", default=[1, 16])
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--csv", type=Path, default=RESULTS / "asymmetric.csv")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    rows = recalled(given) if given.features else timed(given)
    merge_rows(given.csv, [{**r, **environment(), "command": command()} for r in rows], KEY)


if __name__ == "__main__":
    main()
