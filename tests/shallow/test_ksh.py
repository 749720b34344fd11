"""KSH's bits lower the objective that they are chosen by."""

import numpy as np
import pytest
import torch

from semicon_fast import shallow
from semicon_fast.shallow.ksh import Residue, descend, learn_bits, signs_of, similarity_of


def draw(rows=120, classes=4, width=8, noise=0.7, seed=0):
    draws = np.random.default_rng(seed)
    labels = np.arange(rows) % classes
    middles = draws.normal(size=(classes, width))
    return middles[labels] + noise * draws.normal(size=(rows, width)), labels


def problem(bits, seed=0):
    """Centred kernels K (n, m), targets (n, 4), and bits * S (n, n)."""
    features, labels = (torch.from_numpy(x) for x in draw(seed=seed))
    distances = torch.cdist(features, features[:25]).square()
    kernel = (-distances / (2 * distances.mean())).exp()
    targets = torch.eye(4).double()[labels]
    return kernel - kernel.mean(0), targets, bits * similarity_of(targets)


def test_rows_that_share_a_label_are_similar():
    shared = similarity_of(torch.tensor([[1.0, 0, 1], [0, 1, 0], [0, 1, 1]]).double())
    assert shared.tolist() == [[1, -1, 1], [-1, 1, 1], [1, 1, 1]]


def test_the_residue_is_the_matrix_that_is_never_formed():
    draws = torch.Generator().manual_seed(0)
    targets = (torch.rand(30, 3, generator=draws) < 0.5).double()
    signs = signs_of(torch.randn(30, 2, generator=draws, dtype=torch.float64))
    residue = Residue(targets, 5)
    for bit in signs.T:
        residue.take(bit)
    expected = 5 * similarity_of(targets) - signs @ signs.T
    x = torch.randn(30, 4, generator=draws, dtype=torch.float64)
    assert len(residue.table) <= 8
    assert torch.allclose(residue @ x, expected @ x)
    assert torch.allclose(residue @ x[:, 0], expected @ x[:, 0])


@pytest.mark.parametrize("iterations", [0, 500])
def test_what_a_bit_leaves_is_what_the_identity_says(iterations):
    """|R - y y'|^2 = |R|^2 - 2 y'R y + n^2, so it falls if and only if y'R y > n^2 / 2."""
    kernel, targets, residue = problem(12)
    count = len(kernel)
    fallen = []
    for vector, signs in learn_bits(kernel, targets, 12, iterations):
        assert torch.equal(signs, signs_of(kernel @ vector)) and set(signs.tolist()) == {-1, 1}
        before, gain = residue.square().sum(), signs @ residue @ signs
        residue = residue - signs.outer(signs)
        after = residue.square().sum()
        assert float(after) == pytest.approx(float(before - 2 * gain + count**2))
        assert (after < before) == (gain > count**2 / 2)
        fallen.append(bool(after < before))
    assert all(fallen[:3])


def test_perfect_bits_leave_nothing():
    """Two classes and their indicator as the kernel: Y Y' = bits S."""
    labels = torch.arange(20) % 2
    targets = torch.eye(2).double()[labels]
    kernel = (2.0 * labels - 1).double().unsqueeze(1)
    bits = torch.stack([signs for _, signs in learn_bits(kernel, targets, 6, 50)], dim=1)
    assert float((bits @ bits.T - 6 * similarity_of(targets)).abs().max()) == 0


def test_spectral_vectors_are_the_top_ones_of_what_the_earlier_bits_left():
    linalg = pytest.importorskip("scipy.linalg")
    kernel, targets, residue = problem(8)
    metric = (kernel.T @ kernel).numpy()
    for vector, signs in learn_bits(kernel, targets, 8, 0):
        matrix = (kernel.T @ residue @ kernel).numpy()
        found = vector.numpy()
        assert found @ metric @ found == pytest.approx(len(kernel), rel=1e-6)
        top = linalg.eigh(matrix, metric, eigvals_only=True)[-1]
        assert found @ matrix @ found == pytest.approx(len(kernel) * top, rel=1e-6)
        residue = residue - signs.outer(signs)


@pytest.mark.parametrize("seed", range(3))
def test_the_descent_lowers_the_smooth_cost(seed):
    kernel, _, residue = problem(8, seed)
    start = torch.randn(25, generator=torch.Generator().manual_seed(seed)).double()

    def cost(vector):
        values = 2 * torch.sigmoid(kernel @ vector) - 1
        return float(-(values @ residue @ values))

    reached = [cost(descend(kernel, residue, start, steps)) for steps in (0, 1, 500)]
    assert reached[0] == cost(start) and reached[0] > reached[1] > reached[2]


def test_the_first_step_goes_along_the_gradient():
    kernel, _, residue = problem(8)
    start = torch.randn(25, generator=torch.Generator().manual_seed(0)).double()
    leaf = start.clone().requires_grad_()
    values = 2 * torch.sigmoid(kernel @ leaf) - 1
    (-(values @ residue @ values)).backward()
    step = descend(kernel, residue, start, 1) - start
    ratio = -step / leaf.grad
    assert torch.allclose(ratio, ratio[0].expand(25)) and float(ratio[0]) > 0
    # 1 over a power of 2, by doubling the curvature.
    assert float(torch.log2(ratio[0])) == pytest.approx(round(float(torch.log2(ratio[0]))))


def test_bits_of_the_descent_gain_no_less_than_spectral_ones():
    """Each bit is the better of the two, so the first one cannot be worse."""
    kernel, targets, residue = problem(8)
    gains = []
    for iterations in (0, 500):
        _, signs = next(learn_bits(kernel, targets, 8, iterations))
        gains.append(float(signs @ residue @ signs))
    assert gains[1] >= gains[0]


def test_kernels_are_centred_on_the_training_rows_and_as_wide_as_they_are_far():
    features, labels = draw()
    hasher = shallow.KSH(4, anchors=10, sample=50).fit(features, labels)
    state = hasher.state_
    anchors = state["anchors"].numpy()
    squares = ((features[:, None] - anchors) ** 2).sum(2)
    assert (squares.min(0) < 1e-20).all() and len(np.unique(anchors, axis=0)) == 10
    assert float(state["variance"]) == pytest.approx(squares.mean())
    kernels = np.exp(-squares / (2 * squares.mean()))
    assert np.allclose(state["mean"], kernels.mean(0))
    expected = (kernels - kernels.mean(0)) @ state["projection"].numpy()
    assert np.allclose(hasher.project(features), expected)


def test_more_anchors_than_distinct_rows_are_no_obstacle():
    features, labels = draw()
    doubled, twice = np.repeat(features, 3, axis=0), np.repeat(labels, 3)
    hasher = shallow.KSH(6, anchors=300, sample=100).fit(doubled, twice)
    assert np.isfinite(hasher.project(features)).all()


def test_rows_that_are_all_the_same_are_refused():
    with pytest.raises(ValueError, match="features must differ between rows to fit ksh"):
        shallow.KSH(4).fit(np.ones((6, 3)), np.arange(6) % 2)
