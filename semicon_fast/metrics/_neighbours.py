"""Recall of the exact neighbours by real-valued features: how much codes keep of a ranking."""

import time
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ..arrays import Array, as_tensor, check_choice, check_integer
from ..search import HammingIndex, nearest_neighbours, rerank
from ..search.neighbours import distances_to
from ..search.reranking import METRICS, both_features


def neighbour_recall(
    found: Array,
    queries: Array,
    database: Array,
    ks: Sequence[int] = (1, 10, 100),
    *,
    metric: str = "cosine",
    truth: Any = None,
) -> dict[int, float]:
    """Recall@k of a search against the exact nearest neighbours by real-valued features.

    Recall@k of a query is the fraction of its true k nearest that are among the first k found; it
    is averaged over the queries. A found id also counts as right if it is as far as the k-th true
    neighbour, for which of equally far ones are nearest is arbitrary. If k > N, all N are the true
    ones.

    Args:
        found: integers (Q, c), the ids of each query in the order in which they were found, -1 for
            none; c at least the largest k, or N if that is smaller.
        queries: floating (Q, F). database: floating (N, F); row i has id i.
        ks: the values of k, each at least 1.
        metric: "cosine", "euclidean" or "inner_product", see `search.nearest_neighbours`.
        truth: what `search.nearest_neighbours` returned for the largest k or a larger one; None
            computes it.

    Returns {k: recall@k}. Raises TypeError or ValueError naming the argument.
    """
    check_choice(metric, METRICS, "metric")
    mine, theirs = both_features(queries, database, "queries", "database")
    depths = _depths(ks, mine, theirs)
    ids = _found_ids(found, max(depths.values()), mine, theirs)
    if truth is None:
        truth = nearest_neighbours(mine, theirs, max(depths.values()), metric=metric)
    true = as_tensor(truth[0], "truth").to(mine.device)
    if true.ndim != 2 or len(true) != len(mine) or true.shape[1] < max(depths.values()):
        raise ValueError(
            f"truth must have ({len(mine)}, {max(depths.values())}) distances or more columns, "
            f"got {tuple(true.shape)}"
        )
    near = distances_to(mine, theirs, ids, metric=metric)
    recall = {}
    for k, depth in depths.items():
        right = (near[:, :depth] <= true[:, depth - 1 : depth]).sum(1).double()
        recall[k] = float((right / depth).mean())
    return recall


class CodeRecall(NamedTuple):
    """Recall of a search by codes.

    codes: {k: recall@k} of the ranking by Hamming distance. reranked: of the first
    `candidates` x k of it, ordered anew by the features. seconds: {"codes", "reranked"}, the time
    of each search for the largest k, all queries together.
    """

    codes: dict[int, float]
    reranked: dict[int, float]
    seconds: dict[str, float]


def code_recall(
    query_codes: Array,
    database_codes: Array,
    queries: Array,
    database: Array,
    ks: Sequence[int] = (1, 10, 100),
    *,
    bits: int,
    metric: str = "cosine",
    candidates: int = 10,
    truth: Any = None,
) -> CodeRecall:
    """`neighbour_recall` of a search by codes, alone and with its best candidates reranked.

    Args:
        query_codes, database_codes: packed codes, uint8 (Q, bytes) and (N, bytes), of the features.
        bits: length of a code.
        candidates: for recall@k, the first candidates x k codes are reranked by their features.
        queries, database, ks, metric, truth: as in `neighbour_recall`.
    """
    check_integer(candidates, "candidates", 1)
    check_choice(metric, METRICS, "metric")
    mine, theirs = both_features(queries, database, "queries", "database")
    depths = _depths(ks, mine, theirs)
    index = HammingIndex(bits)
    index.add(database_codes)
    if len(index) != len(theirs) or len(query_codes) != len(mine):
        raise ValueError(
            f"codes must be one for each of {len(mine)} queries and {len(theirs)} rows of the "
            f"database, got {len(query_codes)} and {len(index)}"
        )
    if truth is None:
        truth = nearest_neighbours(mine, theirs, max(depths.values()), metric=metric)
    given = {"metric": metric, "truth": truth}
    wide = min(candidates * max(depths.values()), len(theirs))
    began = time.perf_counter()
    index.search(query_codes, max(depths.values()))
    seconds = {"codes": time.perf_counter() - began}
    began = time.perf_counter()
    ids = as_tensor(index.search(query_codes, wide)[1], "ids").to(mine.device)
    reranked = {}
    for k in sorted(depths, reverse=True):
        best = rerank(mine, theirs, ids[:, : candidates * k], depths[k], metric=metric)[1]
        # The largest k comes first, and is the one whose time counts.
        seconds.setdefault("reranked", time.perf_counter() - began)
        reranked[k] = neighbour_recall(best, mine, theirs, [k], **given)[k]
    alone = neighbour_recall(ids, mine, theirs, ks, **given)
    return CodeRecall(alone, {k: reranked[k] for k in depths}, seconds)


def _depths(ks: Sequence[int], queries: Tensor, database: Tensor) -> dict[int, int]:
    """Each k and the number of neighbours that there are for it."""
    if not len(ks) or not len(queries) or not len(database):
        raise ValueError(
            "ks, queries and database must not be empty, "
            f"got {len(ks)}, {len(queries)} and {len(database)}"
        )
    return {k: min(check_integer(k, "ks", 1), len(database)) for k in ks}


def _found_ids(found: Any, depth: int, queries: Tensor, database: Tensor) -> Tensor:
    ids = as_tensor(found, "found")
    if ids.is_floating_point() or ids.is_complex() or ids.dtype is torch.bool:
        raise TypeError(f"found must be integers, got {ids.dtype}")
    if ids.ndim != 2 or len(ids) != len(queries) or ids.shape[1] < depth:
        raise ValueError(
            f"found must be ({len(queries)}, {depth}) or have more columns, got {tuple(ids.shape)}"
        )
    ids = ids[:, :depth].to(queries.device, torch.int64)
    if int(ids.min()) < -1 or int(ids.max()) >= len(database):
        raise ValueError(
            f"found must hold rows of database, -1 to {len(database) - 1}, "
            f"got {int(ids.min())} to {int(ids.max())}"
        )
    return ids
