"""Exact nearest neighbours by real-valued features, block by block."""

import torch
from torch import Tensor

from ..arrays import Array, check_choice, check_integer, like
from ._partitioned import NO_ID, padded
from .reranking import METRICS, both_features, feature_distances

# Values of temporary matrices in float64, 128 MiB, and queries of a block.
_VALUES = 1 << 24
_QUERIES = 256
# Candidates beyond k that are kept by their approximate values.
_SPARE = 16


def nearest_neighbours(
    queries: Array, database: Array, k: int, *, metric: str = "cosine"
) -> tuple[Array, Array]:
    """The k nearest rows of the database to each query, ascending by (distance, id), exactly.

    Candidates come from matrix products in float64. Their distances are then computed pair by pair
    in float64, so that equal rows are equally far. Where a product cannot tell whether a row
    belongs to the k, as with many equal ones, all distances of that query are.

    Args:
        queries: floating (Q, F).
        database: floating (N, F); row i has id i. It may be memory-mapped: blocks of it are read.
        k: at least 1. If k > N the result is padded with distance inf and id -1.
        metric: "cosine" (1 - cosine of the angle; 1 for a zero vector), "euclidean", or
            "inner_product" (its negative, so that the largest product is nearest).

    Returns distances float64 (Q, k) and ids int64 (Q, k), arrays or tensors like `queries`. Raises
    TypeError or ValueError naming the argument.
    """
    k = check_integer(k, "k", 1)
    check_choice(metric, METRICS, "metric")
    mine, theirs = both_features(queries, database, "queries", "database")
    found = min(k, len(theirs))
    if not found or not len(mine):
        distances = torch.full((len(mine), k), torch.inf, dtype=torch.float64, device=mine.device)
        ids = torch.full((len(mine), k), NO_ID, dtype=torch.int64, device=mine.device)
        return like(distances, queries), like(ids, queries)
    parts = [_nearest(rows, theirs, found, metric) for rows in mine.split(_QUERIES)]
    near, ids = (torch.cat(columns) for columns in zip(*parts, strict=True))
    answer = padded(near, k - found, torch.inf), padded(ids, k - found, NO_ID)
    return like(answer[0], queries), like(answer[1], queries)


def distances_to(queries: Tensor, database: Tensor, ids: Tensor, *, metric: str) -> Tensor:
    """Distances float64 (Q, c) of queries (Q, F) to the rows `ids` (Q, c) of the database (N, F),
    pair by pair as in `nearest_neighbours`; inf where an id is -1."""
    step = max(1, _VALUES // max(1, ids.shape[1] * queries.shape[1]))
    pairs = zip(queries.split(step), ids.clamp(min=0).split(step), strict=True)
    near = [feature_distances(q.double(), database[rows].double(), metric) for q, rows in pairs]
    return torch.cat(near).masked_fill(ids < 0, torch.inf)


def _nearest(queries: Tensor, database: Tensor, k: int, metric: str) -> tuple[Tensor, Tensor]:
    kept = min(k + _SPARE, len(database))
    values, ids, norm = _candidates(queries.double(), database, kept, metric)
    # In ascending order of id, so that a stable sort by distance breaks ties by id.
    ids, order = ids.sort(dim=1)
    values = values.gather(1, order)
    near, order = distances_to(queries, database, ids, metric=metric).sort(dim=1, stable=True)
    ids = ids.gather(1, order)
    if kept < len(database):
        # Rows that were not kept have values of at least the largest kept one. A product's error
        # is at most F eps |q| |x|; the k-th must lie below by more than that of both values.
        own = queries.double().norm(dim=1)
        error = 8 * (queries.shape[1] + 4) * torch.finfo(torch.float64).eps
        scale = {"cosine": torch.ones_like(own), "inner_product": own * norm}
        margin = error * scale.get(metric, (own + norm).square())
        kth = values.gather(1, order)[:, k - 1]
        for row in (kth > values.max(dim=1).values - margin).nonzero().flatten().tolist():
            near[row, :k], ids[row, :k] = _all_distances(queries[row], database, k, metric)
    return near[:, :k], ids[:, :k]


def _candidates(
    queries: Tensor, database: Tensor, count: int, metric: str
) -> tuple[Tensor, Tensor, float]:
    """Values and ids (q, count) of the rows with the smallest values, in any order; and the largest
    norm of a row. A value is the distance, or for "euclidean" |x|^2 - 2 q x."""
    if metric == "cosine":
        queries = torch.nn.functional.normalize(queries, dim=1)
    step = max(count, _VALUES // max(1, database.shape[1], len(queries)))
    values = queries.new_empty(len(queries), 0)
    ids = torch.empty(len(queries), 0, dtype=torch.int64, device=queries.device)
    largest = 0.0
    for start in range(0, len(database), step):
        rows = database[start : start + step].double()
        norms = rows.norm(dim=1)
        largest = max(largest, float(norms.max()))
        if metric == "cosine":
            rows = torch.nn.functional.normalize(rows, dim=1)
        found = queries @ rows.T
        found = norms.square() - 2 * found if metric == "euclidean" else -found
        here = torch.arange(start, start + len(rows), device=ids.device).expand(len(queries), -1)
        values, ids = torch.cat([values, found], 1), torch.cat([ids, here], 1)
        values, order = values.topk(min(count, values.shape[1]), dim=1, largest=False)
        ids = ids.gather(1, order)
    return values, ids, largest


def _all_distances(query: Tensor, database: Tensor, k: int, metric: str) -> tuple[Tensor, Tensor]:
    """The k nearest of one query (F,), each distance computed on its own."""
    step = max(1, _VALUES // max(1, database.shape[1]))
    near = torch.cat(
        [
            feature_distances(query.double()[None], rows.double()[None], metric)[0]
            for rows in database.split(step)
        ]
    )
    near, ids = near.sort(stable=True)
    return near[:k], ids[:k]
