"""Centers of classes and of several labels, the margin cross entropy, and what has no centers."""

import math

import pytest
import torch
import torch.nn.functional as F

from semicon_fast import centers, methods
from semicon_fast.methods.class_centers import (
    class_shares,
    cosine_logits,
    distance_to_signs,
    margin_cross_entropy,
)

WITH_CENTERS = ("csq", "orthohash", "crh", "shc")


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def begun(name, labels, bits=8, **options):
    method = methods.build(name, **options)
    method.begin(labels, bits, seeded())
    return method


LABELS = torch.tensor([0, 1, 2, 0, 1, 2])
# Rows of Sylvester's matrix of order 4.
H4 = torch.tensor([[1, 1, 1, 1], [1, -1, 1, -1], [1, 1, -1, -1], [1, -1, -1, 1]])


@pytest.mark.parametrize("margin, start", [(0.2, 6.8943), (0.3, 7.6938)])
def test_the_loss_starts_at_its_value_for_cosines_of_zero(margin, start):
    """ln(1 + (C - 1) e^(s m)) with s = 8 and 200 classes."""
    book = centers.random(200, 48, seeded()).double()
    labels = torch.tensor([0, 7, 199])
    losses = margin_cross_entropy(torch.zeros(3, 48).double(), book, labels, 8.0, margin)
    assert math.log1p(199 * math.exp(8 * margin)) == pytest.approx(start, abs=5e-5)
    assert losses.tolist() == pytest.approx([start] * 3, abs=5e-5)


@pytest.mark.parametrize("classes, share", [(100, 0.870), (200, 0.900), (555, 0.932)])
def test_the_probability_of_a_perfect_code_among_orthogonal_centers(classes, share):
    """With a scale of sqrt(2) ln(C - 1), at any code length."""
    eye = torch.eye(classes).double()
    scale = math.sqrt(2) * math.log(classes - 1)
    loss = margin_cross_entropy(eye[:1], eye, torch.tensor([0]), scale, 0.0)
    assert math.exp(-float(loss)) == pytest.approx(share, abs=5e-4)


@pytest.mark.parametrize("bits, share", [(16, 0.215)])
def test_a_scale_of_the_root_of_the_bits_leaves_a_small_probability(bits, share):
    eye = torch.eye(200).double()
    probabilities = cosine_logits(eye[:1], eye, bits**0.5).softmax(1)
    assert float(probabilities[0, 0]) == pytest.approx(share, abs=5e-4)


def test_it_is_cross_entropy_with_a_lower_cosine_of_the_own_class():
    outputs = torch.randn(4, 8, generator=seeded()).double()
    book = centers.random(5, 8, seeded(1)).double()
    labels = torch.tensor([0, 4, 2, 2])
    logits = 3.0 * F.cosine_similarity(outputs[:, None], book[None], dim=2)
    logits[torch.arange(4), labels] -= 3.0 * 0.25
    expected = F.cross_entropy(logits, labels, reduction="none")
    assert torch.allclose(margin_cross_entropy(outputs, book, labels, 3.0, 0.25), expected)
    longer = margin_cross_entropy(7 * outputs, book, labels, 3.0, 0.25)
    assert torch.allclose(longer, expected)


def test_several_labels_share_the_target_and_each_has_the_margin():
    outputs = torch.randn(2, 8, generator=seeded()).double()
    book = centers.random(3, 8, seeded(1)).double()
    labels = torch.tensor([[True, False, True], [False, True, False]])
    assert class_shares(labels, 3).tolist() == [[0.5, 0, 0.5], [0, 1, 0]]
    logits = 3.0 * (F.cosine_similarity(outputs[:, None], book[None], dim=2) - 0.2 * labels)
    logs = logits.log_softmax(1)
    expected = [-0.5 * float(logs[0, 0] + logs[0, 2]), -float(logs[1, 1])]
    found = margin_cross_entropy(outputs, book, labels, 3.0, 0.2)
    assert found.tolist() == pytest.approx(expected)
    single = margin_cross_entropy(outputs[1:], book, torch.tensor([1]), 3.0, 0.2)
    assert float(single) == pytest.approx(expected[1])


def test_centers_and_classes_may_be_permuted_together():
    book, outputs = centers.random(6, 8, seeded()).float(), torch.randn(5, 8, generator=seeded())
    labels, order = torch.tensor([0, 1, 2, 5, 5]), torch.randperm(6, generator=seeded())
    again = margin_cross_entropy(outputs, book[order], order.argsort()[labels], 3.0, 0.2)
    assert torch.allclose(margin_cross_entropy(outputs, book, labels, 3.0, 0.2), again, atol=1e-6)


def test_distance_to_signs():
    assert float(distance_to_signs(torch.tensor([[1.0, -1.0], [0.0, 0.5]]))) == 1.25 / 4


def test_a_center_of_several_labels_is_the_sign_of_their_sum(tmp_path):
    centers.save(H4, tmp_path / "h4.safetensors")
    labels = torch.tensor([[0, 1, 1, 0], [1, 1, 1, 0], [0, 0, 0, 1]]).bool()
    method = begun("csq", labels, 4, centers=str(tmp_path / "h4.safetensors"))
    assert bool((method.ties.abs() == 1).all())
    for ties in ([1.0, 1, -1, 1], [-1.0, -1, 1, -1]):
        method.ties.copy_(torch.tensor(ties))
        found = method.targets(labels)
        assert found.tolist() == [[1, *ties[1:3], -1], [1, 1, 1, -1], [1, -1, -1, 1]]
    assert torch.equal(method.learned_codes, found)
    assert set(method.state_dict()) == {"centers", "ties"}


@pytest.mark.parametrize("name", ["csq", "orthohash", "crh"])
def test_centers_are_fixed_and_the_codes_of_their_images(name):
    method = begun(name, LABELS)
    assert list(method.parameters()) == [] and not method.asymmetric
    assert method.centers.shape == (3, 8) and bool((method.centers.abs() == 1).all())
    assert torch.equal(method.learned_codes, method.centers[LABELS])
    assert methods.build(name).learned_codes is None
    again = begun(name, LABELS)
    assert torch.equal(again.centers, method.centers)


@pytest.mark.parametrize("kind", ["hadamard", "random", "greedy", "semantic"])
@pytest.mark.parametrize("name", ["csq", "orthohash"])
def test_every_kind_of_centers_serves(name, kind):
    method = begun(name, LABELS, centers=kind)
    assert centers.quality(method.centers).least >= 1


@pytest.mark.parametrize("name", ["csq", "orthohash"])
def test_a_file_of_other_centers_is_refused(name, tmp_path):
    file = str(tmp_path / "c.safetensors")
    centers.save(centers.random(4, 8, seeded()), file)
    with pytest.raises(ValueError, match=r"must be \(3, 8\), got \(4, 8\)"):
        begun(name, LABELS, centers=file)


@pytest.mark.parametrize("name", ["csq", "orthohash", "shc"])
@pytest.mark.parametrize("kind", ["gold", None, 5])
def test_what_is_no_kind_of_centers_is_refused(name, kind):
    with pytest.raises(ValueError, match=f"centers must be one of .*, or a file, got {kind!r}"):
        methods.build(name, centers=kind)


@pytest.mark.parametrize("name", WITH_CENTERS)
@pytest.mark.parametrize(
    "labels, bits, sentence",
    [
        (torch.zeros(3, dtype=torch.int64), 8, "needs training images of at least 2 classes, got"),
        (torch.arange(9), 3, r"classes must be at most 2\^bits = 8"),
        (LABELS, 1, "bits must be an integer from 2"),
        (LABELS.float(), 8, "labels must be int64"),
    ],
)
def test_what_has_no_centers_is_refused(name, labels, bits, sentence):
    with pytest.raises(ValueError, match=sentence):
        begun(name, labels, bits)


@pytest.mark.parametrize("name", ["csq", "orthohash", "crh"])
def test_an_image_without_a_label_has_no_center(name):
    labels = torch.tensor([[True, False, False], [False, False, False], [False, True, True]])
    with pytest.raises(ValueError, match=f"{name} needs a label of every training image, got 1"):
        begun(name, labels)
