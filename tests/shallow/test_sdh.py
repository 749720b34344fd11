"""SDH's objective never rises, step by step and bit by bit."""

import numpy as np
import pytest
import torch

from semicon_fast import shallow, unpack_codes
from semicon_fast.shallow.sdh import ridge_solver, update_bit, update_codes

LAM, NU, RIDGE = 1.0, 1e-2, 1e-2


def draw(rows=100, classes=5, width=10, noise=0.4, seed=0):
    draws = np.random.default_rng(seed)
    labels = np.arange(rows) % classes
    middles = draws.normal(size=(classes, width))
    return middles[labels] + noise * draws.normal(size=(rows, width)), labels


def objective(phi, targets, codes, classifier, projection, nu=NU):
    """|Y - B W|^2 + lam |W|^2 + nu (|B - phi F|^2 + ridge |F|^2)."""
    fit = (targets - codes @ classifier).square().sum() + LAM * classifier.square().sum()
    mapped = (codes - phi @ projection).square().sum() + RIDGE * projection.square().sum()
    return float(fit + nu * mapped)


@pytest.mark.parametrize("nu", [1e-5, NU, 1.0])
def test_the_objective_never_rises(nu):
    draws = torch.Generator().manual_seed(0)
    phi = torch.rand(80, 15, generator=draws, dtype=torch.float64)
    targets = torch.eye(5).double()[torch.arange(80) % 5]
    codes = (torch.randint(0, 2, (80, 8), generator=draws) * 2 - 1).double()
    solve = ridge_solver(phi, RIDGE)
    classifier, projection = ridge_solver(codes, LAM)(targets), solve(codes)
    values = [objective(phi, targets, codes, classifier, projection, nu)]

    def took():
        values.append(objective(phi, targets, codes, classifier, projection, nu))
        # Rounding of sums of 640 squares.
        assert values[-1] <= values[-2] * (1 + 1e-12)

    for _ in range(4):
        linear = nu * phi @ projection + targets @ classifier.T
        for bit in range(8):
            update_bit(codes, linear, classifier @ classifier.T, bit)
            took()
        classifier = ridge_solver(codes, LAM)(targets)
        took()
        projection = solve(codes)
        took()
    assert values[-1] < 0.9 * values[0]


def test_a_bit_is_the_best_of_its_two_values_in_every_row():
    draws = torch.Generator().manual_seed(1)
    codes = (torch.randint(0, 2, (30, 6), generator=draws) * 2 - 1).double()
    targets = torch.randn(30, 4, generator=draws, dtype=torch.float64)
    classifier = torch.randn(6, 4, generator=draws, dtype=torch.float64)
    mapped = torch.randn(30, 6, generator=draws, dtype=torch.float64)

    def cost(chosen):
        fit = (targets - chosen @ classifier).square().sum(1)
        return fit + NU * (chosen - mapped).square().sum(1)

    for bit in range(6):
        both = [codes.clone(), codes.clone()]
        both[0][:, bit], both[1][:, bit] = -1, 1
        best = torch.minimum(*map(cost, both))
        linear = NU * mapped + targets @ classifier.T
        update_bit(codes, linear, classifier @ classifier.T, bit)
        assert torch.allclose(cost(codes), best)


def test_sweeps_end_where_no_bit_changes():
    draws = torch.Generator().manual_seed(2)
    codes = (torch.randint(0, 2, (30, 6), generator=draws) * 2 - 1).double()
    targets = torch.eye(3).double()[torch.arange(30) % 3]
    classifier = ridge_solver(codes, LAM)(targets)
    given = codes.clone()
    settled = update_codes(codes, targets, classifier, codes, NU, 1000)
    assert torch.equal(codes, given)
    assert torch.equal(update_codes(settled, targets, classifier, codes, NU, 1), settled)


def test_ridge_regression_is_that_of_least_squares_with_rows_for_the_ridge():
    draws = np.random.default_rng(0)
    inputs, targets = draws.normal(size=(40, 6)), draws.normal(size=(40, 3))
    taller = np.vstack([inputs, np.sqrt(0.3) * np.eye(6)])
    expected = np.linalg.lstsq(taller, np.vstack([targets, np.zeros((6, 3))]), rcond=None)[0]
    found = ridge_solver(torch.from_numpy(inputs), 0.3)(torch.from_numpy(targets))
    assert np.allclose(found, expected)


def test_each_class_gets_one_code_and_its_training_rows_have_it():
    features, labels = draw(rows=200)
    codes = unpack_codes(shallow.SDH(12).fit(features, labels).encode(features), 12)
    assert len(np.unique(codes, axis=0)) == 5
    for label in range(5):
        assert len(np.unique(codes[labels == label], axis=0)) == 1


def test_kernels_are_those_of_vectors_of_unit_norm():
    pairwise = pytest.importorskip("sklearn.metrics.pairwise")
    features, labels = draw()
    hasher = shallow.SDH(8, anchors=20).fit(features, labels)
    anchors, projection = (hasher.state_[name].numpy() for name in ("anchors", "projection"))
    assert np.allclose(np.linalg.norm(anchors, axis=1), 1)
    unit = features / np.linalg.norm(features, axis=1, keepdims=True)
    kernels = pairwise.rbf_kernel(unit, anchors, gamma=1 / (2 * 0.4**2))
    expected = kernels @ projection[:-1] + projection[-1]
    assert np.allclose(hasher.project(features), expected, atol=1e-9)
    assert np.array_equal(hasher.encode(3.7 * features), hasher.encode(features))


def test_several_labels_a_row_may_be_given():
    features, _ = draw()
    labels = np.random.default_rng(5).random((100, 6)) < 0.4
    labels[~labels.any(1), 0] = True
    assert shallow.SDH(8).fit(features, labels).encode(features).shape == (100, 1)
