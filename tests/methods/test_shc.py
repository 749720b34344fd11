"""SHC: the center loss by hand, its values at the start, the stages, and what cannot be trained."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from semicon_fast import centers, methods
from semicon_fast.methods.shc import center_loss


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def prepared(labels, bits=8, iterations=4, features=5, kept=None, **options):
    method = methods.build("shc", **options)
    method.begin(labels, bits, seeded())
    model = SimpleNamespace(feature_size=features)
    method.prepare(model, iterations, torch.arange(len(labels)) if kept is None else kept)
    return method


def output(count, bits=8, features=5, seed=1):
    draws = seeded(seed)
    codes = torch.randn(count, bits, generator=draws).requires_grad_()
    return SimpleNamespace(codes=codes, features=torch.randn(count, features, generator=draws))


LABELS = torch.tensor([0, 1, 2, 0, 1, 2])


@pytest.mark.parametrize("classes, start", [(100, 4.6152), (200, 5.3033), (555, 6.3208)])
def test_the_loss_starts_at_its_value_for_equal_probabilities(classes, start):
    book = centers.random(classes, 64, seeded()).double()
    assert math.log(classes) - math.log(1 - 1 / classes) == pytest.approx(start, abs=5e-5)
    losses = center_loss(torch.zeros(3, 64).double(), book, torch.tensor([0, 1, classes - 1]), 8.0)
    assert losses.tolist() == pytest.approx([start] * 3, abs=5e-5)


@pytest.mark.parametrize(
    "classes, bits, floor",
    [(100, 16, 1.0409), (200, 16, 1.5397), (555, 16, 2.4128), (100, 48, 0.0935), (200, 64, 0.0649)],
)
def test_a_perfect_code_among_orthogonal_centers_leaves_the_floor(classes, bits, floor):
    """As if all other centers were orthogonal: cosines 1 and 0."""
    eye = torch.eye(classes).double()
    loss = center_loss(eye[:1], eye, torch.tensor([0]), bits**0.5)
    assert float(loss) == pytest.approx(floor, abs=1e-4)


@given(st.integers(2, 7), st.integers(1, 6), st.floats(0.1, 12), st.integers(0, 99))
def test_the_loss_is_the_formula(classes, bits, scale, seed):
    u = torch.randn(3, bits, generator=seeded(seed)).double()
    book = centers.random(2**bits if bits < 3 else 8, max(bits, 2), seeded(seed))
    book = book.double()[: min(classes, len(book)), :bits]
    if len(book) < 2:
        return
    y = torch.randint(len(book), (3,), generator=seeded(seed))
    p = (scale * nn.functional.cosine_similarity(u[:, None], book[None], dim=2)).softmax(1)
    expected = []
    for i in range(3):
        others = [math.log(1 - p[i, c]) for c in range(len(book)) if c != y[i]]
        expected.append(-math.log(p[i, y[i]]) - sum(others) / len(others))
    assert center_loss(u, book, y, scale).tolist() == pytest.approx(expected, rel=1e-6, abs=1e-9)


@pytest.mark.parametrize("scale", [1.0, 30.0, 1000.0])
def test_loss_and_gradient_are_finite_and_exact_at_any_scale(scale):
    """On the center of class 0, log(1 - p) of it as a wrong class is -2 scale, not -infinity."""
    book = torch.tensor([[1.0, 1.0], [-1.0, -1.0]])
    u = book[:1].clone().requires_grad_()
    loss = center_loss(u, book, torch.tensor([1]), scale)
    exact = 2 * (math.log1p(math.exp(-2 * scale)) + 2 * scale)
    assert loss.item() == pytest.approx(exact, rel=1e-6)
    loss.sum().backward()
    assert bool(torch.isfinite(u.grad).all())


def test_centers_and_classes_may_be_permuted_together():
    book, u, y = (
        centers.random(6, 8, seeded()).float(),
        torch.randn(5, 8),
        torch.tensor([0, 1, 2, 5, 5]),
    )
    order = torch.randperm(6)
    again = center_loss(u, book[order], order.argsort()[y], 3.0)
    assert torch.allclose(center_loss(u, book, y, 3.0), again, atol=1e-6)


def test_the_loss_of_a_batch_is_center_loss_and_quantisation():
    method = prepared(LABELS, centers="hadamard", scale=2.5, quantisation=0.3)
    assert method.wants_features(0) and not method.wants_features(1)
    method.take_features(None)
    method.start_iteration(0, torch.arange(6))
    out = output(6)
    terms = method.loss(out, LABELS, torch.arange(6))
    expected = center_loss(out.codes, method.centers, LABELS, 2.5).mean()
    assert terms["center"].item() == pytest.approx(float(expected))
    distance = (out.codes.detach().abs() - 1).square().mean()
    assert float(terms["quantisation"]) == pytest.approx(0.3 * float(distance))
    assert torch.equal(method.learned_codes, method.centers[LABELS])
    assert list(method.parameters()) == [] and method.share(2, 8) == 0.25


def test_the_scale_is_the_root_of_the_bits():
    method = prepared(LABELS, bits=16, centers="random")
    method.take_features(None)
    method.start_iteration(0, torch.arange(6))
    out = output(6, 16)
    expected = center_loss(out.codes, method.centers, LABELS, 4.0).mean()
    assert float(method.loss(out, LABELS, torch.arange(6))["center"]) == pytest.approx(
        float(expected)
    )


def test_the_classifier_is_trained_first_and_then_frozen():
    method = prepared(LABELS, classify=2)
    assert method.stages == (2,) and method.restarts and method.learned_codes is None
    for iteration in range(4):
        assert not method.wants_features(iteration)
        method.start_iteration(iteration, torch.arange(6))
        terms = method.loss(output(6), LABELS, torch.arange(6))
        first = iteration < 2
        assert set(terms) == ({"class", "weights"} if first else {"center", "quantisation"})
        assert (method.share(2, 8) is None) == first
        assert all(p.requires_grad == first for p in method.parameters())
        sum(terms.values()).backward()
        method.end_iteration()
        assert bool(method.centers.any()) == (iteration >= 1)
    similarity = centers.class_similarity(method.weight, 8)
    assert not torch.equal(similarity, similarity.T)


def test_class_and_weight_terms_are_cross_entropy_and_distance_to_one():
    method = prepared(LABELS, classify=1, regulariser=0.5)
    method.start_iteration(0, torch.arange(6))
    out = output(6)
    terms = method.loss(out, LABELS, torch.arange(6))
    logits = out.features @ method.weight.T + method.bias
    logits = (logits - logits.mean(0)) / (logits.var(0, unbiased=False) + 1e-5).sqrt()
    expected = nn.functional.cross_entropy(logits, LABELS)
    assert float(terms["class"]) == pytest.approx(float(expected), rel=1e-5)
    assert float(terms["weights"]) == pytest.approx(
        0.5 * float((method.weight.abs() - 1).square().mean())
    )
    assert math.isfinite(float(method.loss(output(1), LABELS[:1], torch.arange(1))["class"]))


def test_without_a_classifier_similarities_are_those_of_mean_features():
    method = prepared(LABELS, bits=16)
    rows = torch.arange(6)
    out = output(6, 16)
    method.take_features([(out, rows)])
    means = torch.stack([out.features[c == LABELS].mean(0) for c in range(3)])
    similarity = centers.class_similarity(means.double(), 16)
    expected = centers.semantic(3, 16, seeded(), similarity=similarity)
    assert torch.equal(method.centers.to(torch.int8), expected)


def test_similarities_and_centers_come_from_files(tmp_path):
    book = centers.random(3, 8, seeded())
    centers.save(book, tmp_path / "c.safetensors")
    method = prepared(LABELS, centers=str(tmp_path / "c.safetensors"))
    method.take_features(None)
    assert torch.equal(method.centers, book.float())
    np.save(tmp_path / "s.npy", np.diag([8.0, 8, 8]))
    method = prepared(LABELS, similarity=str(tmp_path / "s.npy"))
    method.take_features(None)
    expected = centers.semantic(3, 8, seeded(), similarity=torch.eye(3) * 8)
    assert torch.equal(method.centers.to(torch.int8), expected)


@pytest.mark.parametrize(
    "options, sentence",
    [
        ({"classify": -1}, "classify must be an int of at least 0"),
        ({"centers": "gold"}, "centers must be one of semantic, hadamard.*or a file, got 'gold'"),
        ({"similarity_kind": "angle"}, "similarity_kind must be one of product, cosine"),
        ({"least": 0}, "least must be an int of at least 1"),
        ({"scale": 0}, "scale must be a finite number, more than 0"),
        ({"quantisation": -1}, "quantisation must be"),
        ({"regulariser": float("nan")}, "regulariser must be"),
        ({"classify": 1, "centers": "hadamard"}, "classify must be 0 where nothing is learned"),
        ({"classify": 4}, "classify must be below the number of outer iterations"),
        ({"similarity": "none.npy"}, "similarity file none.npy does not exist"),
    ],
)
def test_wrong_options_are_refused_by_name(options, sentence):
    with pytest.raises((ValueError, FileNotFoundError), match=sentence):
        prepared(LABELS, **options)


@pytest.mark.parametrize(
    "labels, bits, sentence",
    [
        (torch.zeros(3, dtype=torch.int64), 8, "at least 2 classes, got 1"),
        (torch.arange(9), 3, r"classes must be at most 2\^bits = 8"),
        (LABELS, 1, "bits must be an integer from 2"),
        (torch.ones(3, 2, dtype=torch.bool), 8, "shc needs one label for each image"),
        (torch.tensor([0, 2]), 8, "images of every class: 1 of 3 have none.*first is class 1"),
    ],
)
def test_what_has_no_centers_is_refused(labels, bits, sentence):
    with pytest.raises(ValueError, match=sentence):
        prepared(labels, bits)


def test_a_class_without_images_after_a_split_is_refused():
    with pytest.raises(ValueError, match="that is not held out, the first is class 2"):
        prepared(LABELS, kept=torch.tensor([0, 1, 3]))


@pytest.mark.parametrize(
    "content, sentence",
    [(np.zeros((4, 4)), r"must be \(3, 3\)"), (np.full((3, 3), np.nan), "NaN")],
)
def test_a_similarity_file_that_does_not_fit_is_refused(tmp_path, content, sentence):
    np.save(tmp_path / "s.npy", content)
    with pytest.raises(ValueError, match=sentence):
        prepared(LABELS, similarity=str(tmp_path / "s.npy"))


def test_a_file_of_other_centers_is_refused(tmp_path):
    centers.save(centers.random(4, 8, seeded()), tmp_path / "c.safetensors")
    with pytest.raises(ValueError, match=r"must be \(3, 8\), got \(4, 8\)"):
        prepared(LABELS, centers=str(tmp_path / "c.safetensors"))
