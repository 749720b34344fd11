"""Canonical directions against scipy, and what few classes leave of them."""

import warnings

import numpy as np
import pytest
import torch

from semicon_fast import metrics, shallow, unpack_codes
from semicon_fast.shallow.cca_itq import canonical_directions


def draw(classes, width=20, rows=400, seed=0, noise=0.15):
    draws = np.random.default_rng(seed)
    labels = np.arange(rows) % classes
    middles = draws.normal(size=(classes, width))
    return middles[labels] + noise * draws.normal(size=(rows, width)) + 2, labels


def directions(features, labels, ridge=1e-4):
    tensors = torch.from_numpy(features), torch.eye(labels.max() + 1).double()[labels]
    return canonical_directions(tensors[0], tensors[0].mean(0), tensors[1], ridge)


def test_directions_solve_the_generalised_problem():
    linalg = pytest.importorskip("scipy.linalg")
    features, labels = draw(6)
    both = np.cov(np.hstack([features, np.eye(6)[labels]]).T)
    own, cross, theirs = both[:20, :20], both[:20, 20:], both[20:, 20:]
    own, theirs = own + 1e-4 * np.eye(20), theirs + 1e-4 * np.eye(6)
    squares, vectors = linalg.eigh(cross @ np.linalg.solve(theirs, cross.T), own)
    found, columns = (x.numpy() for x in directions(features, labels))
    assert np.allclose(found[:5] ** 2, squares[::-1][:5], atol=1e-10)
    for ours, other in zip(columns.T[:5], vectors.T[::-1][:5], strict=True):
        assert np.allclose(ours, other, atol=1e-7) or np.allclose(ours, -other, atol=1e-7)
    assert np.allclose(columns.T @ own @ columns, np.eye(20), atol=1e-8)


def test_four_classes_have_three_directions_and_four_codes():
    features, labels = draw(4)
    correlations, _ = directions(features, labels)
    assert float(correlations[:3].min()) > 0.98 and float(correlations[3:].max()) < 1e-6
    with pytest.warns(RuntimeWarning, match="4 classes give at most 3 directions, so 12 bits"):
        hasher = shallow.CCAITQ(12).fit(features, labels)
    assert np.linalg.matrix_rank(hasher.project(features), tol=1e-5) == 3
    codes = hasher.encode(features)
    found = [np.unique(codes[labels == label], axis=0) for label in range(4)]
    assert [len(each) for each in found] == [1] * 4
    assert len(np.unique(codes, axis=0)) == 4


def test_two_classes_leave_all_bits_equal_up_to_their_signs():
    features, labels = draw(2, noise=1.0)
    with pytest.warns(RuntimeWarning, match="at most 1 directions"):
        hasher = shallow.CCAITQ(8).fit(features, labels)
    signs = unpack_codes(hasher.encode(features), 8)
    assert set((signs != signs[0]).sum(1).tolist()) == {0, 8}


def test_enough_classes_give_no_warning_and_better_codes_than_itq():
    features, labels = draw(20, width=32, rows=800, noise=1.0)
    queries, theirs = draw(20, width=32, rows=200, noise=1.0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = {name: shallow.build(name, 16).fit(features, labels) for name in ("cca-itq", "itq")}
    scores = {
        name: metrics.mean_average_precision(
            hasher.encode(queries), hasher.encode(features), theirs, labels, bits=16
        )
        for name, hasher in found.items()
    }
    assert scores["cca-itq"] > scores["itq"]


def test_several_labels_a_row_give_a_direction_each():
    features, _ = draw(3)
    labels = np.random.default_rng(5).random((400, 6)) < 0.4
    labels[~labels.any(1), 0] = True
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        shallow.CCAITQ(6).fit(features, labels)
