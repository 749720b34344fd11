"""Recall of exact neighbours by its definition, with ties at the border counted as right."""

import numpy as np
import pytest
import torch

from semicon_fast import pack_codes
from semicon_fast.metrics import code_recall, neighbour_recall
from semicon_fast.search import nearest_neighbours

# Distances of the query at 0: 1, 2, 3, 3, 5.
LINE = np.array([[1.0], [2.0], [3.0], [-3.0], [5.0]])
ORIGIN = np.array([[0.0]])


def recall(found, ks):
    return neighbour_recall(np.array([found]), ORIGIN, LINE, ks, metric="euclidean")


def test_recall_is_the_fraction_of_the_true_ones_among_as_many():
    assert recall([0, 1, 2, 3, 4], (1, 2, 5)) == {1: 1, 2: 1, 5: 1}
    assert recall([4, 0, 1, 2, 3], (1, 2, 4)) == {1: 0, 2: 0.5, 4: 0.75}
    assert recall([0, 4, 1], (1, 2, 3)) == {1: 1, 2: 0.5, 3: pytest.approx(2 / 3)}
    assert recall([-1, 0, -1], (1, 2, 3)) == {1: 0, 2: 0.5, 3: pytest.approx(1 / 3)}


def test_what_is_as_far_as_the_last_true_one_is_right():
    assert recall([0, 1, 3], (3,)) == recall([0, 1, 2], (3,)) == {3: 1}
    assert recall([2, 3, 0], (3,)) == {3: 1}
    assert recall([2, 3], (2,)) == {2: 0}


def test_more_than_there_are_is_all():
    assert recall([0, 1, 2, 3, 4], (100,)) == {100: 1}


def test_truth_can_be_given_and_tensors_too():
    rng = np.random.default_rng(0)
    queries, database = (torch.from_numpy(rng.standard_normal((n, 4))) for n in (6, 50))
    truth = nearest_neighbours(queries, database, 20)
    found = torch.randint(0, 50, (6, 10), generator=torch.Generator().manual_seed(0))
    for row in range(6):
        found[row] = torch.randperm(50, generator=torch.Generator().manual_seed(row))[:10]
    wanted = np.mean([len(set(f) & set(t)) / 10 for f, t in
                      zip(found.tolist(), truth[1][:, :10].tolist(), strict=True)])  # fmt: skip
    for given in (None, truth):
        got = neighbour_recall(found, queries, database, [10], truth=given)
        assert got == {10: pytest.approx(wanted)}
    assert neighbour_recall(truth[1], queries, database, [1, 20]) == {1: 1, 20: 1}


def test_codes_alone_and_reranked():
    rng = np.random.default_rng(3)
    queries, database = (rng.standard_normal((n, 16)).astype(np.float32) for n in (20, 300))
    codes = [pack_codes(values) for values in (queries, database)]
    found = code_recall(*codes, queries, database, (1, 10), bits=16, candidates=5)
    distances = (np.unpackbits(codes[0][:, None] ^ codes[1][None], axis=2)).sum(2)
    ids = np.argsort(distances, axis=1, kind="stable")
    assert found.codes == neighbour_recall(ids[:, :10], queries, database, (1, 10))
    unit = [v / np.linalg.norm(v, axis=1, keepdims=True) for v in (queries, database)]
    cosine = 1 - unit[0] @ unit[1].T
    for k in (1, 10):
        best = [row[np.argsort(c[row])][:k] for row, c in zip(ids[:, : 5 * k], cosine, strict=True)]
        wanted = neighbour_recall(np.array(best), queries, database, [k])
        assert found.reranked[k] == pytest.approx(wanted[k])
        assert found.reranked[k] >= found.codes[k]
    assert set(found.seconds) == {"codes", "reranked"}
    every = code_recall(*codes, queries, database, (1, 10), bits=16, candidates=300)
    assert every.reranked == {1: 1, 10: 1}


@pytest.mark.parametrize(
    "changed, error, sentence",
    [
        ({"found": np.zeros((1, 2), int)}, ValueError, r"found must be \(1, 3\) or have more"),
        ({"found": np.zeros((1, 3))}, TypeError, "found must be integers, got torch.float64"),
        ({"found": np.full((1, 3), 5)}, ValueError, "found must hold rows of database, -1 to 4"),
        ({"ks": ()}, ValueError, "ks, queries and database must not be empty, got 0, 1 and 5"),
        ({"ks": (0,)}, ValueError, "ks must be an integer >= 1, got 0"),
        ({"metric": "l1"}, ValueError, "metric must be one of"),
        ({"truth": (np.zeros((1, 2)),)}, ValueError, r"truth must have \(1, 3\) distances"),
    ],
)
def test_wrong_arguments_are_named(changed, error, sentence):
    given = {"found": np.zeros((1, 3), int), "queries": ORIGIN, "database": LINE, "ks": (3,)}
    with pytest.raises(error, match=sentence):
        neighbour_recall(**{**given, **changed})


def test_codes_must_be_as_many_as_features():
    codes = pack_codes(np.ones((4, 8)))
    with pytest.raises(ValueError, match="one for each of 1 queries and 5 rows.*got 4 and 4"):
        code_recall(codes, codes, ORIGIN, LINE, bits=8)
