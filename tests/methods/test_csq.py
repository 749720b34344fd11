"""CSQ: cross entropy of the bits, its stable form, and the released code's term of pairs."""

import math
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F

from semicon_fast import methods
from semicon_fast.methods.pairwise import loss_between_halves

LABELS = torch.tensor([0, 1, 2, 0, 1, 2])


def begun(bits=8, labels=LABELS, **options):
    method = methods.build("csq", **options)
    method.begin(labels, bits, torch.Generator().manual_seed(0))
    return method


def loss(method, outputs, labels=LABELS):
    return method.loss(SimpleNamespace(codes=outputs), labels, torch.arange(len(outputs)))


def test_the_logits_2u_give_the_published_cross_entropy():
    outputs = torch.randn(6, 8, generator=torch.Generator().manual_seed(1)).double()
    method = begun(quantisation=0.3)
    method.double()
    terms = loss(method, outputs)
    codes = torch.tanh(outputs)
    expected = F.binary_cross_entropy((codes + 1) / 2, (method.centers[LABELS] + 1) / 2)
    assert float(terms["center"]) == pytest.approx(float(expected), rel=1e-12)
    quantisation = 0.3 * float((codes.abs() - 1).square().mean())
    assert float(terms["quantisation"]) == pytest.approx(quantisation)
    assert set(terms) == {"center", "quantisation"}


def test_outputs_of_zero_cost_ln_2_and_the_weight_of_the_quantisation():
    terms = loss(begun(quantisation=0.1), torch.zeros(6, 8))
    assert float(terms["center"]) == pytest.approx(math.log(2))
    assert float(terms["quantisation"]) == pytest.approx(0.1)


def test_far_on_the_center_it_costs_nothing_and_far_off_it_stays_finite():
    method = begun()
    outputs = (1e4 * method.centers[LABELS]).requires_grad_()
    assert all(float(term.detach()) == 0 for term in loss(method, outputs).values())
    away = loss(method, -outputs)["center"]
    away.backward()
    assert float(away.detach()) == pytest.approx(2e4)
    assert torch.allclose(outputs.grad, 2 * method.centers[LABELS] / outputs.numel())


def test_the_pairs_of_the_released_code_are_between_halves_and_change_how_processes_share():
    outputs = torch.randn(6, 8, generator=torch.Generator().manual_seed(1))
    method = begun(pairwise=0.2)
    expected = 0.2 * loss_between_halves(torch.tanh(outputs), LABELS, 10 / 8)
    assert float(loss(method, outputs)["pair"]) == pytest.approx(float(expected))
    assert method.share(2, 8) is None and begun().share(2, 8) == 0.25


@pytest.mark.parametrize("option", ["quantisation", "pairwise"])
def test_wrong_weights_are_refused_by_name(option):
    with pytest.raises(ValueError, match=f"{option} must be a finite number, at least 0, got -1"):
        methods.build("csq", **{option: -1})
