"""How many of the exact nearest neighbours do codes of embeddings find, alone and re-ranked?

For each hasher and number of bits: recall@1, 10 and 100 (see `metrics.neighbour_recall`, cosine) of
rows that are drawn as queries, on the others as the database, to which the hasher was fitted. The
re-ranked columns order the best 10 k codes by the embeddings. The first row is faiss's exact search
of the embeddings (IndexFlatIP), whose ms are what codes save. Any file of vectors serves;
`view_features.py` makes 100,000 of photographs.

    python benchmarks/view_features.py cub100 grocery81 --count 100000 --output views.npy
    python benchmarks/recall.py views.npy --times
"""

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import torch
from harness import RESULTS, command, environment, merge_rows

from semicon_fast import HammingIndex, metrics, rerank, shallow
from semicon_fast.data import open_vectors
from semicon_fast.data.vectors import held_out
from semicon_fast.search import nearest_neighbours

KS, CANDIDATES = (1, 10, 100), 10
METHODS, BITS = ("itq", "lsh"), (64, 128, 256)
KEY = ("features", "vectors", "queries", "hasher", "bits")
Searches = dict[str, Callable[[], Any]]


def exact_search(queries: np.ndarray, database: np.ndarray) -> Callable[[], np.ndarray]:
    """faiss's search of unit vectors by their inner product."""
    unit = [rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (queries, database)]
    index = faiss.IndexFlatIP(database.shape[1])
    index.add(unit[1])
    return lambda: index.search(unit[0], max(KS))[1]


def code_searches(hasher: Any, queries: np.ndarray, database: np.ndarray) -> Searches:
    """The searches that are timed; each encodes its queries too."""
    index = HammingIndex(hasher.bits)
    index.add(hasher.encode(database))
    depth = min(CANDIDATES * max(KS), len(database))

    def reranked() -> Any:
        ids = index.search(hasher.encode(queries), depth)[1]
        return rerank(queries, database, ids, max(KS), metric="cosine")

    return {
        "codes_ms": lambda: index.search(hasher.encode(queries), max(KS)),
        "reranked_ms": reranked,
    }


def milliseconds(searches: Searches, queries: int, rounds: int) -> dict[str, float]:
    """Median milliseconds a query, all queries at once, each search in turn; nan for no rounds."""
    seconds: dict[str, list[float]] = {name: [] for name in searches}
    for number in range(rounds + 1 if rounds else 0):
        for name, search in searches.items():
            began = time.perf_counter()
            search()
            if number:  # the first round warms up
                seconds[name].append(time.perf_counter() - began)
    return {n: 1e3 * statistics.median(s) / queries if s else np.nan for n, s in seconds.items()}


def columns(codes: dict[int, float], reranked: dict[int, float]) -> dict[str, float]:
    found = {f"recall@{k}": codes[k] for k in KS}
    return {**found, **{f"recall@{k}_reranked": reranked.get(k, np.nan) for k in KS}}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("features", help="file of vectors, as `semicon-fast recall` takes")
    parser.add_argument("--queries", type=int, default=1000)
    parser.add_argument("--methods", nargs="+", default=METHODS)
    parser.add_argument("--bits", nargs="+", type=int, default=BITS)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--times", action="store_true", help="also time the searches")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--csv", type=Path, default=RESULTS / "recall.csv")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    faiss.omp_set_num_threads(given.threads)
    vectors = open_vectors(given.features)
    split = held_out(vectors.array(), given.queries, given.seed)
    queries, database = (rows.astype(np.float32) for rows in split)
    truth = nearest_neighbours(queries, database, max(KS))
    exact = exact_search(queries, database)
    measured = metrics.neighbour_recall(exact(), queries, database, KS, truth=truth)
    about = {
        "features": vectors.place.path.stem,
        "vectors": len(vectors),
        "width": vectors.shape[1],
        "queries": len(queries),
    }
    rounds = given.rounds if given.times else 0
    last = {"threads": given.threads, **environment(), "faiss": faiss.__version__}
    last["command"] = command()
    rows = []
    for name in given.methods:
        for bits in given.bits:
            hasher = shallow.build(name, bits).fit(database)
            codes = [hasher.encode(part) for part in (queries, database)]
            found = metrics.code_recall(
                codes[0], codes[1], queries, database, KS,
                bits=bits, candidates=CANDIDATES, truth=truth,
            )  # fmt: skip
            searches = {**code_searches(hasher, queries, database), "exact_ms": exact}
            spent = milliseconds(searches, len(queries), rounds)
            rows.append({**about, "hasher": name, "bits": bits,
                         **columns(found.codes, found.reranked), **spent, **last})  # fmt: skip
            print({k: v for k, v in rows[-1].items() if k not in last}, flush=True)
    none = {"codes_ms": np.nan, "reranked_ms": np.nan, "exact_ms": rows[-1]["exact_ms"]}
    exact_row = {**about, "hasher": "exact, faiss", "bits": 0, **columns(measured, {}), **none}
    merge_rows(given.csv, [{**exact_row, **last}, *rows], KEY)


if __name__ == "__main__":
    main()
