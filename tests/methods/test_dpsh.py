"""DPSH: the loss by hand, its gradient by the paper, and which images take part."""

import math
from types import SimpleNamespace

import pytest
import torch

from semicon_fast import methods


def begun(labels, bits, **options):
    method = methods.build("dpsh", **options)
    method.begin(labels, bits, torch.Generator())
    return method


def loss(method, outputs, labels, rows):
    return method.loss(SimpleNamespace(codes=outputs), labels[rows], rows)


LABELS = torch.tensor([0, 1, 0, 2, 1])


def outputs_of(count, bits, seed=0):
    return torch.randn(count, bits, generator=torch.Generator().manual_seed(seed))


def test_two_images_by_hand():
    """Inner products of 5, 2 and 1, each halved; every image is also paired with itself."""
    labels = torch.tensor([0, 1])
    outputs = torch.tensor([[2.0, 1.0], [1.0, -1.0]])
    terms = loss(begun(labels, 2), outputs, labels, torch.arange(2))
    own = [math.log1p(math.exp(-2.5)), math.log1p(math.exp(-1.0))]
    assert float(terms["pair"]) == pytest.approx((sum(own) + 2 * 0.97408) / 4, abs=1e-5)
    assert float(terms["quantisation"]) == pytest.approx(0.1 / 4)


def test_outputs_of_zero_cost_ln_2_and_the_distance_of_one():
    terms = loss(begun(LABELS, 4, alpha=0.3), torch.zeros(5, 4), LABELS, torch.arange(5))
    assert float(terms["pair"]) == pytest.approx(math.log(2))
    assert float(terms["quantisation"]) == pytest.approx(0.3)


def test_images_without_outputs_take_no_part():
    rows, outputs = torch.tensor([3, 1]), outputs_of(2, 4)
    among_five = loss(begun(LABELS, 4), outputs, LABELS, rows)
    alone = loss(begun(LABELS[rows], 4), outputs, LABELS[rows], torch.arange(2))
    assert float(among_five["pair"]) == pytest.approx(float(alone["pair"]))


def test_the_gradient_is_the_papers_with_the_others_fixed():
    method, outputs = begun(LABELS, 4, alpha=0.2), outputs_of(5, 4)
    loss(method, outputs, LABELS, torch.arange(5))
    u = outputs_of(2, 4, seed=1).requires_grad_()
    rows = torch.tensor([4, 0])
    sum(loss(method, u, LABELS, rows).values()).backward()
    bank = outputs.clone()
    bank[rows] = u.detach()
    similar = (LABELS[rows][:, None] == LABELS[None]).float()
    pulls = torch.sigmoid(u.detach() @ bank.T / 2) - similar
    expected = pulls @ bank / 2 / similar.numel()
    expected += 0.2 * 2 * (u.detach() - u.detach().sign()) / u.numel()
    assert torch.allclose(u.grad, expected, atol=1e-7)


@pytest.mark.parametrize("several", [False, True])
def test_images_and_bits_may_be_permuted(several):
    labels = torch.nn.functional.one_hot(LABELS).bool() if several else LABELS
    outputs, rows = outputs_of(5, 6), torch.arange(5)
    plain = loss(begun(labels, 6), outputs, labels, rows)
    order, bits = torch.tensor([4, 2, 0, 1, 3]), torch.tensor([5, 0, 3, 1, 4, 2])
    other = loss(begun(labels[order], 6), outputs[order][:, bits], labels[order], rows)
    for name in plain:
        assert float(plain[name]) == pytest.approx(float(other[name]), rel=1e-5)


def test_its_state_is_the_bank_and_its_codes_are_not_learned():
    method = begun(LABELS, 4)
    assert set(method.state_dict()) == {"bank.outputs", "bank.seen"}
    assert method.learned_codes is None and method.share(1, 2) is None and not method.asymmetric


def test_a_wrong_weight_is_refused_by_name():
    with pytest.raises(ValueError, match="alpha must be a finite number, at least 0, got -1"):
        methods.build("dpsh", alpha=-1)
    with pytest.raises(ValueError, match="labels must be int64"):
        begun(LABELS.float(), 4)
