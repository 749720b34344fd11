"""Precision@10 against query time: candidates by codes, re-ranked by features, and other indexes.

The protocol of ExchNet's supplement (ECCV 2020, Table 1): N candidates by codes, ordered by
real-valued features; precision of the first 10 by the labels. Beside it faiss's IVFADC
(IVF300,PQ8) and HNSW, scikit-learn's KD-tree and ball tree on 32 principal components, and exact
float search, which is the ceiling of all re-ranked rows. Each is swept over its one setting, so
that a row is a point of a curve. Codes are ITQ's of the features. "all" times all queries in one
call, "one" some of them in calls of one.

Features are a file of vectors with labels (`semicon-fast features`), whose rows are drawn as
queries and database, or generated ones of Food101's size (75,750 and 25,250 in 101 classes).

    python benchmarks/protocol.py features.npz
    python benchmarks/protocol.py generated --dims 512
"""

import argparse
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import torch
from harness import RESULTS, command, environment, merge_rows
from sklearn.decomposition import PCA
from sklearn.neighbors import BallTree, KDTree

from semicon_fast import HammingIndex, MultiIndex, TwoStageIndex, shallow
from semicon_fast.data import open_vectors

K, BITS = 10, 48
CANDIDATES = (1000, 2000, 3000, 4000, 5000)
PROBES = (1, 2, 4, 8, 16, 32, 64, 128, 300)
EFFORTS = (16, 32, 64, 128, 256)
KEY = ("features", "dims", "engine", "setting")

# Queries -> ids (Q, 10); each point of a curve is (setting, this).
Search = Callable[[np.ndarray], np.ndarray]
Points = Iterator[tuple[int, Search]]


def exact(database: np.ndarray) -> Points:
    index = faiss.IndexFlatL2(database.shape[1])
    index.add(database)
    yield 0, lambda queries: index.search(queries, K)[1]


def ivfadc(database: np.ndarray) -> Points:
    index = faiss.index_factory(database.shape[1], "IVF300,PQ8")
    index.train(database)
    index.add(database)
    for probes in PROBES:
        index.nprobe = probes
        yield probes, lambda queries: index.search(queries, K)[1]


def hnsw(database: np.ndarray) -> Points:
    index = faiss.index_factory(database.shape[1], "HNSW32,Flat")
    index.add(database)
    for effort in EFFORTS:
        index.hnsw.efSearch = effort
        yield effort, lambda queries: index.search(queries, K)[1]


def tree(kind: Any) -> Callable[[np.ndarray], Points]:
    def points(database: np.ndarray) -> Points:
        components = PCA(min(32, *database.shape), random_state=0).fit(database)
        index = kind(components.transform(database), leaf_size=40)
        yield 40, lambda queries: index.query(components.transform(queries), K)[1]

    return points


def two_stages(
    database: np.ndarray, *, length: int | None = None, outputs: bool = False, stored: str
) -> Points:
    """Candidates by a scan of all codes, or by tables of `length` bits."""
    hasher = shallow.build("itq", BITS, seed=0).fit(database)
    codes = hasher.encode(database)
    if length is None:
        index: Any = HammingIndex(BITS)
    else:
        index = MultiIndex(BITS, bits_per_table=length)
    index.add(codes)
    two = TwoStageIndex(index, database, stored=stored)
    for count in CANDIDATES:
        if count > len(database):
            return

        def find(queries: np.ndarray, count: int = count) -> np.ndarray:
            asked = torch.from_numpy(queries)
            real = hasher.project(asked) if outputs else None
            packed = None if outputs else hasher.encode(asked)
            options = {"outputs": real, "exact": length is None}
            return two.search(packed, asked, K, candidates=count, **options)[1].numpy()

        yield count, find


def engines() -> dict[str, Callable[[np.ndarray], Points]]:
    ours = {
        "scan, float32": {"stored": "float32"},
        "scan, float16": {"stored": "float16"},
        "scan, int8": {"stored": "int8"},
        "tables of 8 bits": {"stored": "float32", "length": 8},
        "tables of 16 bits": {"stored": "float32", "length": 16},
    }
    found: dict[str, Callable[[np.ndarray], Points]] = {
        name: lambda database, options=options: two_stages(database, **options)
        for name, options in ours.items()
    }
    peers = {"exact, faiss": exact, "IVFADC, faiss": ivfadc, "HNSW, faiss": hnsw}
    return found | peers | {"KD-tree": tree(KDTree), "ball tree": tree(BallTree)}


def seconds_of(search: Search, queries: np.ndarray, rounds: int) -> float:
    times = []
    for _ in range(rounds):
        began = time.perf_counter()
        search(queries)
        times.append(time.perf_counter() - began)
    return float(np.median(times))


def measure(search: Search, queries: np.ndarray, given: argparse.Namespace) -> dict[str, Any]:
    """Ids are found first, which warms up, and then timed."""
    ids = search(queries)
    singles = queries[: given.singles]

    def one_by_one(rows: np.ndarray) -> np.ndarray:
        return np.concatenate([search(rows[i : i + 1]) for i in range(len(rows))])

    return {
        "ids": ids,
        "ms_all": 1e3 * seconds_of(search, queries, given.rounds) / len(queries),
        "ms_one": 1e3 * seconds_of(one_by_one, singles, given.rounds) / len(singles),
    }


def generated(dims: int, queries: int, database: int) -> tuple[np.ndarray, ...]:
    """Clustered unit vectors in 101 classes, which overlap: (queries, labels, database, labels)."""
    random = np.random.default_rng(0)
    centers = random.standard_normal((101, dims), dtype=np.float32)
    found: list[np.ndarray] = []
    for count in (queries, database):
        labels = np.arange(count) % 101
        # A latent space of 64 dimensions, so that neighbours within a class mean something.
        noise = random.standard_normal((count, 64), dtype=np.float32)
        spread = np.random.default_rng(1).standard_normal((64, dims), dtype=np.float32)
        rows = centers[labels] + 0.15 * noise @ spread
        found += [rows / np.linalg.norm(rows, axis=1, keepdims=True), labels]
    return tuple(found)


def drawn(path: str, share: float) -> tuple[np.ndarray, ...]:
    vectors = open_vectors(path)
    if vectors.labels is None:
        raise SystemExit(f"{path} has no labels, which precision needs")
    labels = np.unique(vectors.labels, return_inverse=True)[1]
    order = np.random.default_rng(0).permutation(len(vectors))
    rows = np.asarray(vectors.array(), np.float32)
    rows = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    mine, theirs = np.split(order, [round(share * len(order))])
    return rows[mine], labels[mine], rows[theirs], labels[theirs]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("features", help='file of vectors with labels, or "generated"')
    parser.add_argument("--dims", type=int, default=512, help="of generated features")
    parser.add_argument("--queries", type=int, default=25_250, help="of generated features")
    parser.add_argument("--database", type=int, default=75_750, help="of generated features")
    parser.add_argument("--share", type=float, default=0.25, help="queries among a file's rows")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--singles", type=int, default=50, help="queries in calls of one")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--engines", nargs="+", default=list(engines()), choices=list(engines()))
    parser.add_argument("--csv", type=Path, default=RESULTS / "protocol.csv")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    faiss.omp_set_num_threads(given.threads)
    if given.features == "generated":
        data = generated(given.dims, given.queries, given.database)
    else:
        data = drawn(given.features, given.share)
    queries, labels, database, known = data
    about = {
        "features": Path(given.features).stem,
        "dims": queries.shape[1],
        "queries": len(queries),
        "database": len(database),
    }
    rows = []
    for name in given.engines:
        for setting, search in engines()[name](database):
            found = measure(search, queries, given)
            hits = known[found.pop("ids")] == labels[:, None]
            row = {**about, "engine": name, "setting": setting}
            row |= {"precision@10": float(hits.mean()), **found, "threads": given.threads}
            print(row, flush=True)
            rows.append({**row, **environment(), "command": command()})
    merge_rows(given.csv, rows, KEY)


if __name__ == "__main__":
    main()
