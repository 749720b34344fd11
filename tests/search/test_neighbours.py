"""Nearest neighbours by features are exact, with ties by id, however many there are."""

import numpy as np
import pytest
import torch

from semicon_fast.search import nearest_neighbours, neighbours, rerank

METRICS = ("cosine", "euclidean", "inner_product")


def slow(queries, database, metric):
    """Every distance by its definition, and the order by (distance, id)."""
    q, x = queries.astype(np.float64), database.astype(np.float64)
    if metric == "euclidean":
        d = np.sqrt(((q[:, None] - x[None]) ** 2).sum(-1))
    else:
        d = -(q[:, None] * x[None]).sum(-1)
        if metric == "cosine":
            d = 1 + d / np.linalg.norm(q, axis=1)[:, None] / np.linalg.norm(x, axis=1)[None]
    return d, np.argsort(d, axis=1, kind="stable")


@pytest.fixture
def small_blocks(monkeypatch):
    monkeypatch.setattr(neighbours, "_VALUES", 64)
    monkeypatch.setattr(neighbours, "_QUERIES", 3)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("k", [1, 7, 90])
def test_they_are_those_of_the_definition(small_blocks, metric, dtype, k):
    rng = np.random.default_rng(k)
    queries, database = (rng.standard_normal((n, 5)).astype(dtype) for n in (8, 90))
    distances, order = slow(queries, database, metric)
    near, ids = nearest_neighbours(queries, database, k, metric=metric)
    assert near.dtype == np.float64 and ids.dtype == np.int64
    assert np.array_equal(ids, order[:, :k])
    np.testing.assert_allclose(near, np.take_along_axis(distances, ids, 1), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("blocks", [False, True])
def test_equal_rows_are_equally_far_and_come_by_id(request, metric, blocks):
    if blocks:
        request.getfixturevalue("small_blocks")
    rng = np.random.default_rng(1)
    distinct = rng.standard_normal((4, 33)).astype(np.float32)
    which = rng.integers(0, 4, 300)
    near, ids = nearest_neighbours(distinct[:2], distinct[which], 100, metric=metric)
    order = slow(distinct[:2], distinct, metric)[1]
    for row in range(2):
        wanted = np.concatenate([(which == kind).nonzero()[0] for kind in order[row]])
        assert np.array_equal(ids[row], wanted[:100])
        assert len(set(near[row].tolist())) == len(set(which[ids[row]].tolist()))


@pytest.mark.parametrize("metric", METRICS)
def test_reranking_everything_gives_the_same(metric):
    rng = np.random.default_rng(2)
    queries, database = (torch.from_numpy(rng.standard_normal((n, 6))) for n in (5, 40))
    every = torch.arange(40).expand(5, -1)
    near, ids = nearest_neighbours(queries, database, 9, metric=metric)
    again, same = rerank(queries, database, every, 9, metric=metric)
    assert torch.equal(ids, same) and torch.equal(near, again)


def test_few_or_no_rows_are_padded():
    queries, database = torch.ones(2, 3), torch.eye(3)[:1]
    near, ids = nearest_neighbours(queries, database, 3)
    assert ids.tolist() == [[0, -1, -1]] * 2 and near[0, 1:].tolist() == [torch.inf] * 2
    near, ids = nearest_neighbours(queries, database[:0], 2)
    assert ids.tolist() == [[-1, -1]] * 2
    assert nearest_neighbours(queries[:0], database, 2)[0].shape == (0, 2)


@pytest.mark.parametrize(
    "changed, sentence",
    [
        ({"k": 0}, "k must be an integer >= 1"),
        ({"metric": "hamming"}, "metric must be one of euclidean, cosine, inner_product"),
        ({"queries": np.ones((2, 4))}, "queries and database must be equally wide, got 4 and 3"),
        ({"database": np.array([[1, np.nan, 0]])}, "database must be finite"),
    ],
)
def test_wrong_arguments_are_named(changed, sentence):
    given = {"queries": np.ones((2, 3)), "database": np.ones((4, 3)), "k": 1, **changed}
    with pytest.raises(ValueError, match=sentence):
        nearest_neighbours(**given)
