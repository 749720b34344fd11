"""Reranking of the candidates of a Hamming search by distances of real-valued features."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ..arrays import (
    Array,
    as_features,
    as_tensor,
    check_choice,
    check_finite,
    check_integer,
    like,
)
from ._partitioned import NO_ID, padded

METRICS = ("euclidean", "cosine", "inner_product")

# Feature values gathered at a time, 1 MiB in float32: they stay in cache between the passes over
# them, and memory is written to that has been before.
_VALUES = 1 << 18

# Copies the rows of these ids, int64 (n,), to a tensor (n, F).
Take = Callable[[Tensor, Tensor], object]


def rerank(
    query_features: Array,
    database_features: Array,
    candidate_ids: Array,
    k: int,
    *,
    metric: str = "euclidean",
) -> tuple[Array, Array]:
    """The k nearest of each query's candidates by real-valued features, ascending (distance, id).

    Args:
        query_features: floating (Q, F).
        database_features: floating (N, F); row i belongs to id i.
        candidate_ids: integers (Q, c) from -1 to N - 1, as returned by `HammingIndex.search`; -1
            means no candidate.
        k: at least 1. If a query has fewer candidates, the result is padded with distance inf and
            id -1.
        metric: "euclidean", "cosine" (1 - cosine of the angle; 1 for a zero vector), or
            "inner_product" (its negative, so that the largest product is nearest).

    Returns distances (Q, k), in the wider of the features' dtypes and at least float32, and ids
    int64 (Q, k), arrays or tensors like `query_features`. Raises TypeError or ValueError naming the
    argument.
    """
    k = check_integer(k, "k", 1)
    check_choice(metric, METRICS, "metric")
    mine, theirs = both_features(
        query_features, database_features, "query_features", "database_features"
    )
    ids = _candidates(candidate_ids, len(mine), len(theirs)).to(mine.device)
    dtype = torch.promote_types(torch.promote_types(mine.dtype, theirs.dtype), torch.float32)
    near, found = ordered(mine.to(dtype), taker(theirs), ids, k, metric)
    return like(near, query_features), like(found, query_features)


def taker(features: Tensor) -> Take:
    """Copies rows of features (N, F)."""

    def take(ids: Tensor, rows: Tensor) -> None:
        if not len(features):
            rows.zero_()
        elif rows.dtype == features.dtype:
            torch.index_select(features, 0, ids, out=rows)
        else:
            rows.copy_(features[ids])

    return take


def ordered(
    queries: Tensor, take: Take, ids: Tensor, k: int, metric: str, absent: int = 0
) -> tuple[Tensor, Tensor]:
    """The k nearest of ids (Q, c), -1 for none, by distances from queries (Q, F) in their dtype.

    absent: an id that `take` may be called with in place of -1.

    Returns distances (Q, k) and ids int64 (Q, k), ascending by (distance, id) and padded. Temporary
    memory is that of the distances and of _VALUES features.
    """
    # Sorted by id, then stably by distance: ties are broken by id.
    ids = ids.sort(dim=1).values
    count, width = ids.shape
    distances = queries.new_full((count, width), torch.inf)
    # Some queries at a time, or a part of the candidates of one.
    step = max(1, _VALUES // max(1, width * queries.shape[1]))
    part = max(1, min(width, _VALUES // max(1, queries.shape[1])))
    buffer = queries.new_empty(min(step, count) * part, queries.shape[1])
    for first in range(0, count, step):
        rows = slice(first, first + step)
        for start in range(0, width, part):
            columns = slice(start, start + part)
            wanted = ids[rows, columns]
            found = buffer[: wanted.numel()]
            take(wanted.masked_fill(wanted < 0, absent).flatten(), found)
            found = found.view(*wanted.shape, queries.shape[1])
            distances[rows, columns] = _distances_within(queries[rows], found, metric)
    distances, order = distances.masked_fill_(ids < 0, torch.inf).sort(dim=1, stable=True)
    missing = max(0, k - width)
    near, ids = distances[:, :k], ids.gather(1, order[:, :k])
    return padded(near, missing, torch.inf), padded(ids, missing, NO_ID)


def _distances_within(queries: Tensor, found: Tensor, metric: str) -> Tensor:
    """`feature_distances`, to the last bit, but `found` is written to."""
    if metric == "euclidean":
        return found.sub_(queries.unsqueeze(1)).square_().sum(-1).sqrt_()
    if metric == "cosine":
        queries = torch.nn.functional.normalize(queries, dim=1)
        # As `normalize` with its eps.
        found.div_(found.norm(2, dim=2, keepdim=True).clamp_min_(1e-12))
    products = found.mul_(queries.unsqueeze(1)).sum(-1)
    return 1 - products if metric == "cosine" else -products


def feature_distances(queries: Tensor, found: Tensor, metric: str) -> Tensor:
    """queries (q, F), found (q, c, F) -> distances (q, c), each from its own pair alone."""
    if metric == "euclidean":
        return (found - queries.unsqueeze(1)).square_().sum(-1).sqrt_()
    if metric == "inner_product":
        return -(found * queries.unsqueeze(1)).sum(-1)
    queries = torch.nn.functional.normalize(queries, dim=1)
    found = torch.nn.functional.normalize(found, dim=2)
    return 1 - (found * queries.unsqueeze(1)).sum(-1)


def both_features(
    queries: Any, database: Any, query_name: str, database_name: str
) -> tuple[Tensor, Tensor]:
    """Both as tensors on the queries' device. Raises TypeError or ValueError by these names unless
    they are floating (Q, F) and (N, F), finite and equally wide."""
    mine = check_finite(as_features(queries, query_name), query_name)
    theirs = check_finite(as_features(database, database_name), database_name).to(mine.device)
    if mine.shape[1] != theirs.shape[1]:
        raise ValueError(
            f"{query_name} and {database_name} must be equally wide, "
            f"got {mine.shape[1]} and {theirs.shape[1]}"
        )
    return mine, theirs


def _candidates(values: Any, queries: int, size: int) -> Tensor:
    ids = as_tensor(values, "candidate_ids")
    if ids.is_floating_point() or ids.is_complex() or ids.dtype is torch.bool:
        raise TypeError(f"candidate_ids must be integers, got {ids.dtype}")
    if ids.ndim != 2 or len(ids) != queries:
        raise ValueError(
            f"candidate_ids must be ({queries}, c), a row for each query, got {tuple(ids.shape)}"
        )
    ids = ids.to(torch.int64)
    if ids.numel() and (int(ids.min()) < NO_ID or int(ids.max()) >= size):
        raise ValueError(
            f"candidate_ids must be rows of database_features, -1 to {size - 1}, "
            f"got {int(ids.min())} to {int(ids.max())}"
        )
    return ids
