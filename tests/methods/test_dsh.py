"""DSH's pair loss: values of the papers' formula, invariants of binary codes."""

from types import SimpleNamespace

import pytest
import torch

from semicon_fast import methods
from semicon_fast.methods.dsh import code_regulariser, contrastive_loss


def loss(codes, labels, **options):
    method = methods.build("dsh", **options)
    method.begin(labels, codes.shape[1], torch.Generator())
    return method.loss(SimpleNamespace(codes=codes), labels, torch.arange(len(codes)))


def flipped(code, bits):
    other = code.clone()
    other[:bits] *= -1
    return other


def code(k, seed=0):
    bits = torch.randint(0, 2, (k,), generator=torch.Generator().manual_seed(seed))
    return bits.float() * 2 - 1


def test_equal_codes_of_similar_images_leave_only_the_regulariser():
    codes = (0.5 * code(12)).repeat(4, 1)
    terms = loss(codes, torch.zeros(4, dtype=torch.int64))
    assert float(terms["pair"]) == pytest.approx(0, abs=1e-6)
    assert float(terms["regulariser"]) == pytest.approx(0.01 * 12 * 0.5)


@pytest.mark.parametrize("distance", [6, 7, 12])
def test_binary_codes_half_the_length_apart_cost_a_dissimilar_pair_nothing(distance):
    codes = torch.stack([code(12), flipped(code(12), distance)])
    terms = loss(codes, torch.tensor([0, 1]))
    assert float(terms["pair"]) == 0 and float(terms["regulariser"]) == 0


def test_12_bits_three_apart_cost_a_dissimilar_pair_6():
    """The per-pair formula is half of the hinge; the layer divides sum_{i<j} by B (B - 1) = 2."""
    codes = torch.stack([code(12), flipped(code(12), 3)])
    hinge = contrastive_loss(codes, torch.eye(2, dtype=torch.bool), 24.0)[0, 1]
    assert 0.5 * float(hinge) == 6
    assert float(loss(codes, torch.tensor([0, 1]))["pair"]) == 6


def test_batch_equals_the_sum_over_pairs():
    codes = torch.randn(7, 5, generator=torch.Generator().manual_seed(1))
    labels = torch.tensor([0, 1, 0, 2, 1, 1, 0])
    expected = 0.0
    for i in range(7):
        for j in range(i):
            distance = float((codes[i] - codes[j]).square().sum())
            expected += distance if labels[i] == labels[j] else max(10 - distance, 0)
    terms = loss(codes, labels, alpha=0.3)
    assert float(terms["pair"]) == pytest.approx(expected / 42, rel=1e-5)
    regulariser = 0.3 * float((codes.abs() - 1).abs().sum()) / 7
    assert float(terms["regulariser"]) == pytest.approx(regulariser, rel=1e-5)


def test_one_label_in_common_makes_a_pair_similar():
    labels = torch.tensor([[1, 1, 0], [0, 1, 1], [0, 0, 1]], dtype=torch.bool)
    codes = torch.stack([code(4, seed) * 0.3 for seed in range(3)])
    distances = torch.cdist(codes, codes).square()
    expected = distances[0, 1] + distances[1, 2] + (8 - distances[0, 2]).clamp(min=0)
    assert float(loss(codes, labels)["pair"]) == pytest.approx(float(expected) / 6, rel=1e-5)


def test_regulariser_has_the_papers_subgradient_everywhere():
    x = torch.tensor([-2.0, -1.0, -0.5, 0.0, 0.5, 1.0, 2.0], requires_grad=True)
    value = code_regulariser(x)
    value.sum().backward()
    assert torch.equal(value.detach(), (x.detach().abs() - 1).abs())
    assert x.grad.tolist() == [-1, 1, 1, 1, -1, 1, 1]


def test_a_batch_of_one_image_has_no_pair():
    terms = loss(torch.full((1, 4), 0.5), torch.tensor([0]))
    assert float(terms["pair"]) == 0
    assert float(terms["regulariser"]) == pytest.approx(0.02)


def test_codes_are_not_learned():
    method = methods.build("dsh")
    method.begin(torch.tensor([0, 1]), 12, torch.Generator())
    method.start_iteration(0, torch.tensor([0, 1]))
    method.end_iteration()
    assert method.learned_codes is None and not method.asymmetric


@pytest.mark.parametrize("margin, distance, wanted", [(6, 6, 0), (6, 4, 2), (3, 2, 1), (1, 1, 0)])
def test_relaxed_codes_have_the_hamming_distance_for_their_squared_distance(
    margin, distance, wanted
):
    """Sigmoids that are 0 and 1, less one half: |.|^2 is d_H, so that a margin of 6 is that of 24
    between codes of -1 and +1."""
    codes = torch.stack([code(12), flipped(code(12), distance)]) / 2
    terms = loss(codes, torch.tensor([0, 1]), margin=margin, alpha=0)
    assert float(terms["pair"]) == wanted / 2 and float(terms["regulariser"]) == 0
    doubled = loss(2 * codes, torch.tensor([0, 1]), margin=4 * margin, alpha=0)
    assert float(doubled["pair"]) == 4 * float(terms["pair"])
