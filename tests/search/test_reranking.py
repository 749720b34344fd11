"""Re-ranking against every pair's real-valued distance."""

import numpy as np
import pytest
import torch

from semicon_fast.search import reranking
from semicon_fast.search.reranking import rerank


def features(rows, seed, width=5):
    return np.random.default_rng(seed).standard_normal((rows, width)).astype(np.float32)


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
@pytest.mark.parametrize("values", [1 << 24, 1], ids=["one-block", "row-by-row"])
def test_all_candidates_give_the_whole_ranking(monkeypatch, metric, values):
    monkeypatch.setattr(reranking, "_VALUES", values)
    mine, theirs = features(4, 0), features(30, 1)
    candidates = np.stack([np.random.default_rng(i).permutation(30) for i in range(4)])
    distances, ids = rerank(mine, theirs, candidates, 30, metric=metric)
    a, b = mine.astype(np.float64)[:, None], theirs.astype(np.float64)[None]
    if metric == "cosine":
        norms = np.linalg.norm(a, axis=2) * np.linalg.norm(b, axis=2)
        wanted = 1 - (a * b).sum(2) / norms
    else:
        wanted = np.linalg.norm(a - b, axis=2)
    assert np.array_equal(ids, wanted.argsort(axis=1))
    np.testing.assert_allclose(distances, np.sort(wanted, axis=1), atol=1e-6)


def test_ties_come_by_id_and_missing_candidates_last():
    theirs = torch.zeros(9, 2)
    candidates = torch.tensor([[7, -1, 3, 5], [-1, -1, -1, -1]])
    distances, ids = rerank(torch.ones(2, 2), theirs, candidates, 5)
    assert ids.tolist() == [[3, 5, 7, -1, -1], [-1] * 5]
    assert distances[0, :3].tolist() == pytest.approx([2**0.5] * 3)
    assert distances[0, 3:].tolist() == [np.inf] * 2 and isinstance(ids, torch.Tensor)


def test_k_keeps_the_nearest():
    mine, theirs = features(3, 0), features(20, 1)
    candidates = np.tile(np.arange(20), (3, 1))
    few, many = rerank(mine, theirs, candidates, 4), rerank(mine, theirs, candidates, 20)
    assert all(np.array_equal(a, b[:, :4]) for a, b in zip(few, many, strict=True))


def test_no_queries_and_no_database_give_no_rows():
    assert rerank(features(0, 0), features(5, 1), np.empty((0, 3), int), 2)[0].shape == (0, 2)
    none = rerank(features(2, 0), features(0, 1), np.full((2, 3), -1), 2)[1]
    assert none.tolist() == [[-1, -1]] * 2


@pytest.mark.parametrize(
    "changed, error, words",
    [
        ({"k": 0}, ValueError, "k must be an integer >= 1"),
        (
            {"metric": "l1"},
            ValueError,
            "metric must be one of euclidean, cosine, inner_product, got 'l1'",
        ),
        ({"query_features": np.ones((2, 5), int)}, TypeError, "query_features must be floating"),
        ({"query_features": np.ones(5)}, ValueError, r"query_features must be \(N, F\)"),
        ({"query_features": np.full((2, 5), np.nan)}, ValueError, "must be finite"),
        ({"database_features": features(6, 1, 4)}, ValueError, "equally wide, got 5 and 4"),
        ({"candidate_ids": np.ones((2, 2))}, TypeError, "candidate_ids must be integers"),
        ({"candidate_ids": np.ones((3, 2), int)}, ValueError, r"must be \(2, c\)"),
        ({"candidate_ids": np.full((2, 2), 6)}, ValueError, "-1 to 5, got 6 to 6"),
    ],
)
def test_bad_input_is_a_sentence(changed, error, words):
    arguments = {
        "query_features": features(2, 0),
        "database_features": features(6, 1),
        "candidate_ids": np.zeros((2, 2), int),
        "k": 1,
    } | changed
    with pytest.raises(error, match=words):
        rerank(**arguments)
