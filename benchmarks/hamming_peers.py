"""Engines that find the k nearest codes: each returns a search of a database, or raises NotHere.

A search takes queries uint8 (Q, bytes) and k and returns distances (Q, k), ascending, which are
compared with the first engine's, or None if they cannot be compared. Codes are searched as whole
bytes, since faiss needs a multiple of 8 bits. Evaluations are in `hamming_evaluation`.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch

Search = Callable[[np.ndarray, int], np.ndarray]

# Largest number of pairs for engines that store all distances at once.
_PAIRS = 1 << 25


class NotHere(Exception):
    """The library is not installed or does not support the case; the message says which."""


def own(database: np.ndarray, threads: int) -> Search:
    import semicon_fast

    index = semicon_fast.HammingIndex(8 * database.shape[1])
    index.add(database)
    return lambda queries, k: index.search(queries, k)[0]


def own_ranking(database: np.ndarray, threads: int) -> Search:
    import semicon_fast

    index = semicon_fast.HammingIndex(8 * database.shape[1])
    index.add(database)
    return lambda queries, k: index.rank(queries)[0]


def own_ranking_into(database: np.ndarray, threads: int) -> Search:
    """Ranks into preallocated arrays, as in a loop over blocks of queries."""
    import semicon_fast

    index = semicon_fast.HammingIndex(8 * database.shape[1])
    index.add(database)
    kept: dict[int, tuple[np.ndarray, np.ndarray]] = {}

    def run(queries: np.ndarray, k: int) -> np.ndarray:
        shape = (len(queries), k)
        out = kept.setdefault(len(queries), (np.empty(shape, np.int32), np.empty(shape, np.int64)))
        return index.rank(queries, out=out)[0]

    return run


def faiss(database: np.ndarray, threads: int) -> Search:
    try:
        import faiss as library
    except ImportError as error:
        raise NotHere(str(error)) from error
    library.omp_set_num_threads(threads)
    index = library.IndexBinaryFlat(8 * database.shape[1])
    index.add(database)
    return lambda queries, k: index.search(queries, k)[0]


def usearch(database: np.ndarray, threads: int) -> Search:
    try:
        from usearch.index import MetricKind, search
    except ImportError as error:
        raise NotHere(str(error)) from error

    def run(queries: np.ndarray, k: int) -> np.ndarray:
        found = search(database, queries, k, MetricKind.Hamming, exact=True, threads=threads)
        return np.asarray(found.distances).reshape(len(queries), k)

    return run


def numkong(database: np.ndarray, threads: int) -> Search:
    """numkong computes all distances from packed codes; torch.topk selects the k smallest."""
    try:
        import numkong as library
    except ImportError as error:
        raise NotHere(str(error)) from error
    packed = library.hammings_pack(database)

    def rows(queries: np.ndarray) -> np.ndarray:
        return np.asarray(library.hammings_packed(queries, packed))

    def run(queries: np.ndarray, k: int) -> np.ndarray:
        parts = np.array_split(queries, min(threads, len(queries)))
        with ThreadPoolExecutor(threads) as pool:
            distances = np.concatenate(list(pool.map(rows, parts))).view(np.int32)
        return torch.from_numpy(distances).topk(k, largest=False).values.numpy()

    return run


def numpy(database: np.ndarray, threads: int) -> Search:
    if not hasattr(np, "bitwise_count"):
        raise NotHere("NumPy has bitwise_count from 2.0 on")
    width = database.shape[1]
    word = {1: np.uint8, 2: np.uint16, 4: np.uint32}.get(width, np.uint64)
    if width > 8 and width % 8 or width in (3, 5, 6, 7):
        word = np.uint8
    words = np.ascontiguousarray(database).view(word)

    def run(queries: np.ndarray, k: int) -> np.ndarray:
        found = np.empty((len(queries), k), np.int32)
        for row, query in enumerate(np.ascontiguousarray(queries).view(word)):
            distances = np.bitwise_count(words ^ query).sum(-1, dtype=np.int32)
            found[row] = np.sort(np.partition(distances, k - 1)[:k])
        return found

    return run


def torch_matmul(database: np.ndarray, threads: int) -> Search:
    """Matrix product of codes as +-1 in float32, torch.topk; the database is unpacked before."""
    bits = 8 * database.shape[1]
    if database.size * 32 > 2 << 30:
        raise NotHere("the unpacked database would take more than 2 GiB")
    signs = _signs(database)

    def run(queries: np.ndarray, k: int) -> np.ndarray:
        products = _signs(queries) @ signs.T
        best = products.topk(k).values
        return ((bits - best) / 2).to(torch.int32).numpy()

    return run


def _signs(codes: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.unpackbits(codes, axis=1, bitorder="little")).float() * 2 - 1


def torch_argsort(database: np.ndarray, threads: int) -> Search:
    """Only a stable sort of precomputed distances, which is less than evaluation code does."""
    return _sorting(database, lambda distances, out: torch.argsort(distances, dim=1, stable=True))


def torch_sort_into(database: np.ndarray, threads: int) -> Search:
    """The same, into preallocated tensors."""
    return _sorting(
        database, lambda distances, out: torch.sort(distances, dim=1, stable=True, out=out)
    )


def _sorting(database: np.ndarray, sort: Callable[..., object]) -> Search:
    signs, bits = _signs(database), 8 * database.shape[1]
    kept: dict[int, tuple[torch.Tensor, tuple[torch.Tensor, torch.Tensor]]] = {}

    def run(queries: np.ndarray, k: int) -> None:
        if len(queries) not in kept:
            distances = (bits - _signs(queries) @ signs.T) / 2
            out = torch.empty_like(distances), torch.empty_like(distances, dtype=torch.int64)
            kept[len(queries)] = distances, out
        sort(*kept[len(queries)])

    return run


# Each engine, and whether it stores all distances at once, and so gets fewer queries.
PEERS: dict[str, tuple[Callable[..., Search], bool]] = {
    "semicon_fast": (own, False),
    "semicon_fast, rank": (own_ranking, False),
    "semicon_fast, rank into": (own_ranking_into, False),
    "faiss": (faiss, False),
    "usearch": (usearch, True),
    "numkong": (numkong, True),
    "numpy": (numpy, True),
    "torch matmul": (torch_matmul, True),
    "torch.argsort": (torch_argsort, False),
    "torch.sort into": (torch_sort_into, False),
}


def queries_for(engine: str, queries: int, codes: int) -> int:
    """Number of queries for an engine, fewer if it stores all distances; rates are compared."""
    return max(1, min(queries, _PAIRS // codes)) if PEERS[engine][1] else queries
