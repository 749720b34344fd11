"""ITQ's rotation never raises the error of quantisation, and its codes beside faiss's."""

import numpy as np
import pytest
import torch

from semicon_fast import pack_codes, shallow, unpack_codes
from semicon_fast.shallow.itq import learn_rotation, random_rotation


def error(values, rotation):
    rotated = values @ rotation
    return float((torch.where(rotated >= 0, 1.0, -1.0) - rotated).square().sum())


def draw(rows, width, seed=0):
    """Features with a few strong directions, unequal norms and a mean."""
    draws = np.random.default_rng(seed)
    scales = np.linspace(2, 0.2, width)
    turned = np.linalg.qr(draws.normal(size=(width, width)))[0]
    stretched = draws.normal(size=(rows, width)) * scales * draws.uniform(0.3, 3, (rows, 1))
    return (stretched @ turned + draws.normal(size=width)).astype(np.float32)


@pytest.mark.parametrize("seed", range(3))
def test_the_error_never_rises_and_the_rotation_stays_one(seed):
    values = torch.from_numpy(draw(300, 16, seed)).double()
    rotation = random_rotation(16, seed)
    errors = []
    for _ in range(30):
        errors.append(error(values, rotation))
        rotation = learn_rotation(values, rotation, 1)
        identity = torch.eye(16, dtype=torch.float64)
        assert torch.allclose(rotation.T @ rotation, identity, atol=1e-12)
    # Rounding of a sum of 4,800 squares.
    assert all(b <= a * (1 + 1e-12) for a, b in zip(errors, errors[1:], strict=False))
    assert errors[-1] < 0.99 * errors[0]


def test_iterations_add_up():
    values = torch.from_numpy(draw(100, 8)).double()
    start = random_rotation(8, 0)
    steps = learn_rotation(learn_rotation(values, start, 3), start, 0)
    assert torch.equal(steps, start)
    twice = learn_rotation(values, learn_rotation(values, start, 3), 4)
    assert torch.equal(twice, learn_rotation(values, start, 7))


@pytest.mark.parametrize("seed", range(10))
def test_turned_corners_of_a_square_are_turned_back(seed):
    corners = torch.tensor([[1.0, 1], [1, -1], [-1, 1], [-1, -1]], dtype=torch.float64)
    half = 0.5**0.5
    turned = corners @ torch.tensor([[half, -half], [half, half]], dtype=torch.float64)
    rotation = learn_rotation(turned, random_rotation(2, seed), 50)
    assert error(turned, rotation) == pytest.approx(0, abs=1e-20)


def test_turned_values_give_the_same_codes_from_a_start_that_is_turned_back():
    values = torch.from_numpy(draw(200, 8)).double()
    start, turn = random_rotation(8, 1), random_rotation(8, 2)
    one = values @ learn_rotation(values, start, 20)
    other = values @ turn @ learn_rotation(values @ turn, turn.T @ start, 20)
    assert torch.allclose(one, other, atol=1e-9)


def test_random_rotations_are_orthogonal_and_have_no_preferred_sign():
    drawn = torch.stack([random_rotation(3, seed) for seed in range(400)])
    assert torch.allclose(drawn.mT @ drawn, torch.eye(3, dtype=torch.float64).expand(400, 3, 3))
    # Entries have variance 1/3: five standard errors.
    assert float(drawn.mean(0).abs().max()) < 5 / (3 * 400) ** 0.5


def test_the_projection_is_a_rotation_of_the_first_principal_components():
    features = draw(500, 20)
    found = shallow.ITQ(6).fit(features).state_["projection"].numpy()
    centred = features.astype(float) - features.mean(0, dtype=float)
    components = np.linalg.svd(centred, full_matrices=False)[2][:6]
    assert np.allclose(found.T @ found, np.eye(6), atol=1e-12)
    assert np.allclose(found @ found.T, components.T @ components, atol=1e-9)


def test_bits_beyond_the_rank_are_mixed_in():
    features = draw(100, 3) @ np.random.default_rng(1).normal(size=(3, 10)).astype(np.float32)
    values = shallow.ITQ(8).fit(features).project(features.astype(np.float64))
    assert np.linalg.matrix_rank(values, tol=1e-3) == 3
    assert (np.abs(values).max(0) > 0.1).all()


@pytest.mark.parametrize(
    "start, error_type, sentence",
    [
        (np.eye(3), ValueError, r"start must be \(4, 4\) for 4 bits, got \(3, 3\)"),
        (np.ones((4, 4)), ValueError, "start must be a rotation"),
        (np.full((4, 4), np.nan), ValueError, "start must be a rotation"),
        ("random", TypeError, "start must be a matrix of numbers, got str"),
    ],
)
def test_other_things_than_rotations_are_refused(start, error_type, sentence):
    with pytest.raises(error_type, match=sentence):
        shallow.build("itq", 4, start=start)


def of_faiss(features, bits):
    """faiss's trained ITQTransform, and its final rotation in our principal components."""
    faiss = pytest.importorskip("faiss")
    theirs = faiss.ITQTransform(features.shape[1], bits, True)
    theirs.train(features)
    whole = faiss.vector_to_array(theirs.pca_then_itq.A).reshape(bits, -1).astype(float)
    plain = shallow.ITQ(bits, normalise=True, iterations=0, start=np.eye(bits)).fit(features)
    return theirs, plain.state_["projection"].numpy().T @ whole.T


def test_codes_by_faiss_rotation_are_those_of_faiss():
    features, queries = draw(2000, 24), draw(500, 24, 1)
    theirs, start = of_faiss(features, 12)
    options = {"iterations": 0, "start": start}
    ours = shallow.ITQ(12, normalise=True, **options).fit(features)
    for rows in (features, queries):
        expected = theirs.apply(rows)
        # faiss computes in float32, where values of vectors of norm 1 are off by 1e-6 at most.
        assert np.allclose(ours.project(rows), expected, atol=1e-5)
        clear = (np.abs(expected) > 1e-5).all(1)
        assert clear.mean() > 0.99
        assert np.array_equal(ours.encode(rows)[clear], pack_codes(expected)[clear])
    plain = shallow.ITQ(12, **options).fit(features)
    signs = unpack_codes(plain.encode(queries), 12) != unpack_codes(ours.encode(queries), 12)
    assert signs.mean() > 0.01


def test_the_error_of_faiss_rotation_can_still_be_lowered():
    """faiss takes the singular vectors in the wrong order, so it ends anywhere."""
    features = draw(2000, 24)
    _, start = of_faiss(features, 12)
    plain = shallow.ITQ(12, normalise=True, iterations=0, start=np.eye(12)).fit(features)
    values = torch.from_numpy(plain.project(features.astype(np.float64)))
    theirs = torch.from_numpy(start)
    assert error(values, learn_rotation(values, theirs, 50)) < 0.995 * error(values, theirs)
