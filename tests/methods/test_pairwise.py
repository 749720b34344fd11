"""Logistic loss of pairs: its values, its weights, and the bank of latest outputs."""

import math

import pytest
import torch
import torch.nn.functional as F

from semicon_fast.methods.pairwise import (
    OutputBank,
    logistic_loss,
    loss_between_halves,
    similar_pairs,
)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def test_a_pair_costs_log_of_one_plus_e_to_t_less_s_t():
    products = torch.tensor([[0.5]])
    similar = torch.tensor([[True]])
    assert float(logistic_loss(products, similar)) == pytest.approx(0.47408, abs=5e-6)
    assert float(logistic_loss(products, ~similar)) == pytest.approx(0.97408, abs=5e-6)


@pytest.mark.parametrize("weight", [1.0, 7.0, 100.0])
def test_at_zero_a_mean_is_ln_2_whatever_the_weight_and_two_means_are_twice_that(weight):
    zeros, similar = torch.zeros(3, 4), torch.eye(3, 4).bool()
    assert float(logistic_loss(zeros, similar, weight=weight)) == pytest.approx(math.log(2))
    both = float(logistic_loss(zeros, similar, weight=None))
    assert both == pytest.approx(1.38629, abs=5e-6)


def test_weights_are_those_of_a_mean_over_pairs():
    products = torch.randn(5, 6, generator=seeded()).double()
    similar = torch.rand(5, 6, generator=seeded(1)) < 0.4
    counted = torch.tensor([True, False, True, True, True, False])
    of = {True: [], False: []}
    for i in range(5):
        for j in range(6):
            if counted[j]:
                t, s = float(products[i, j]), bool(similar[i, j])
                of[s].append(math.log(1 + math.exp(t)) - s * t)
    weighted = (3 * sum(of[True]) + sum(of[False])) / (3 * len(of[True]) + len(of[False]))
    found = logistic_loss(products, similar, weight=3.0, counted=counted)
    assert float(found) == pytest.approx(weighted)
    balanced = sum(sum(values) / len(values) for values in of.values())
    found = logistic_loss(products, similar, weight=None, counted=counted)
    assert float(found) == pytest.approx(balanced)


@pytest.mark.parametrize("weight", [1.0, None])
def test_large_products_and_missing_pairs_are_finite(weight):
    products = torch.tensor([[1e4, -1e4]], requires_grad=True)
    for similar in ([[False, True]], [[True, True]], [[False, False]]):
        loss = logistic_loss(products, torch.tensor(similar), weight=weight)
        loss.backward()
        assert math.isfinite(loss.item()) and bool(torch.isfinite(products.grad).all())
    nothing = torch.zeros(2, 0, requires_grad=True)
    loss = logistic_loss(nothing, torch.zeros(2, 0, dtype=torch.bool), weight=weight)
    loss.backward()
    assert loss.item() == 0


def test_one_label_in_common_makes_a_pair_similar():
    several = torch.tensor([[1, 1, 0], [0, 1, 1], [0, 0, 1]], dtype=torch.bool)
    assert similar_pairs(several, several).int().tolist() == [[1, 1, 0], [1, 1, 1], [0, 1, 1]]
    single = torch.tensor([0, 1, 0])
    assert similar_pairs(single, single[:2]).int().tolist() == [[1, 0], [0, 1], [1, 0]]


@pytest.mark.parametrize("count", [6, 7])
def test_halves_are_paired_with_each_other_only(count):
    codes = torch.randn(count, 5, generator=seeded()).tanh()
    labels = torch.randint(3, (count,), generator=seeded(1))
    losses = []
    for i in range(3):
        for j in range(3, count):
            wanted = torch.tensor(float(labels[i] == labels[j]))
            product = 2.0 * codes[i] @ codes[j]
            losses.append(float(F.binary_cross_entropy_with_logits(product, wanted)))
    found = loss_between_halves(codes, labels, 2.0)
    assert float(found) == pytest.approx(sum(losses) / len(losses), rel=1e-5)


def test_one_image_has_no_other_half():
    codes = torch.ones(1, 4, requires_grad=True)
    loss = loss_between_halves(codes, torch.tensor([0]), 1.0, None)
    loss.backward()
    assert loss.item() == 0 and not bool(codes.grad.any())


def test_the_bank_keeps_the_latest_outputs_without_gradients():
    bank = OutputBank(torch.tensor([0, 1, 2, 1]), 2)
    outputs = torch.tensor([[1.0, 2.0], [3.0, 4.0]], requires_grad=True)
    bank.store(outputs, torch.tensor([3, 0]))
    bank.store(outputs[:1] * 5, torch.tensor([3]))
    assert bank.outputs.tolist() == [[3, 4], [0, 0], [0, 0], [5, 10]]
    assert bank.seen.tolist() == [True, False, False, True] and not bank.outputs.requires_grad
    assert set(bank.state_dict()) == {"outputs", "seen"}
