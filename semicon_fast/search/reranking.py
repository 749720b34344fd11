"""Reranking of the candidates of a Hamming search by distances of real-valued features."""

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
from ._partitioned import NO_ID

METRICS = ("euclidean", "cosine")

# Feature values gathered at a time; bounds temporary memory.
_VALUES = 1 << 24


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
        metric: "euclidean", or "cosine" (1 - cosine of the angle; 1 for a zero vector).

    Returns distances (Q, k), in the wider of the features' dtypes and at least float32, and ids
    int64 (Q, k), arrays or tensors like `query_features`. Raises TypeError or ValueError naming the
    argument.
    """
    k = check_integer(k, "k", 1)
    check_choice(metric, METRICS, "metric")
    mine, theirs = _both_features(query_features, database_features)
    ids = _candidates(candidate_ids, len(mine), len(theirs)).to(mine.device)
    dtype = torch.promote_types(torch.promote_types(mine.dtype, theirs.dtype), torch.float32)
    width = max(k, ids.shape[1])
    distances = torch.full((len(mine), width), torch.inf, dtype=dtype, device=mine.device)
    ordered = torch.full((len(mine), width), NO_ID, dtype=torch.int64, device=mine.device)
    step = max(1, _VALUES // max(1, ids.shape[1] * mine.shape[1]))
    for start in range(0, len(mine), step):
        rows = slice(start, start + step)
        # Sorted by id, then stably by distance: ties are broken by id.
        block = ids[rows].sort(dim=1).values
        found = (
            theirs[block.clamp(min=0)]
            if len(theirs)
            else mine.new_zeros(*block.shape, mine.shape[1])
        )
        near = _distances(mine[rows].to(dtype), found.to(dtype), metric)
        near, order = near.masked_fill(block < 0, torch.inf).sort(dim=1, stable=True)
        distances[rows, : ids.shape[1]] = near
        ordered[rows, : ids.shape[1]] = block.gather(1, order)
    return like(distances[:, :k], query_features), like(ordered[:, :k], query_features)


def _distances(queries: Tensor, found: Tensor, metric: str) -> Tensor:
    """queries (q, F), found (q, c, F) -> (q, c)."""
    if metric == "euclidean":
        return (found - queries.unsqueeze(1)).square_().sum(-1).sqrt_()
    queries = torch.nn.functional.normalize(queries, dim=1)
    found = torch.nn.functional.normalize(found, dim=2)
    return 1 - (found * queries.unsqueeze(1)).sum(-1)


def _both_features(queries: Any, database: Any) -> tuple[Tensor, Tensor]:
    mine = check_finite(as_features(queries, "query_features"), "query_features")
    theirs = check_finite(as_features(database, "database_features"), "database_features")
    theirs = theirs.to(mine.device)
    if mine.shape[1] != theirs.shape[1]:
        raise ValueError(
            "query_features and database_features must be equally wide, "
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
