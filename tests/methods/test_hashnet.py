"""HashNet: the continuation of its released code, the pairs, and their weights."""

import math
from types import SimpleNamespace

import pytest
import torch

from semicon_fast import methods
from semicon_fast.methods.pairwise import logistic_loss, loss_between_halves


def begun(labels, bits=8, **options):
    method = methods.build("hashnet", **options)
    method.begin(labels, bits, torch.Generator())
    return method


def loss(method, outputs, labels, rows=None):
    rows = torch.arange(len(outputs)) if rows is None else rows
    return method.loss(SimpleNamespace(codes=outputs), labels, rows)["pair"]


LABELS = torch.tensor([0, 1, 2, 0, 1, 1])
OUTPUTS = torch.randn(6, 8, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("batch", [1, 199, 200, 399, 400, 1999, 10_000])
def test_the_factor_is_the_released_codes_at_every_batch(batch):
    """sqrt(1 + 0.005 batches), of the last number of batches that 200 divides."""
    method = begun(LABELS)
    method.batches.fill_(batch - 1)
    factor = math.sqrt(1 + 0.005 * (batch - batch % 200))
    expected = loss_between_halves(torch.tanh(factor * OUTPUTS), LABELS, 10 / 8, 3.0)
    assert float(loss(method, OUTPUTS, LABELS)) == pytest.approx(float(expected), rel=1e-5)
    assert int(method.batches) == batch


def test_every_counts_batches():
    method = begun(LABELS, every=2, alpha=0.5)
    found = [float(loss(method, OUTPUTS, LABELS)) for _ in range(5)]
    factors = [1, 2**0.5, 2**0.5, 3**0.5, 3**0.5]
    expected = [loss_between_halves(torch.tanh(f * OUTPUTS), LABELS, 0.5, 3.0) for f in factors]
    assert found == pytest.approx([float(value) for value in expected], rel=1e-5)


@pytest.mark.parametrize(
    "options, start",
    [({}, math.log(2)), ({"class_weight": 9.0}, math.log(2)), ({"weights": "balanced"}, 1.38629)],
)
@pytest.mark.parametrize("pairs", ["halves", "bank"])
def test_outputs_of_zero_cost_ln_2_or_twice_that(pairs, options, start):
    method = begun(LABELS, pairs=pairs, **options)
    assert float(loss(method, torch.zeros(6, 8), LABELS)) == pytest.approx(start, abs=5e-6)


def test_the_weight_is_the_number_of_classes_or_1_for_several_labels():
    several = torch.nn.functional.one_hot(LABELS).bool()
    for labels, weight in ((LABELS, 3.0), (several, 1.0)):
        expected = loss_between_halves(torch.tanh(OUTPUTS), labels, 10 / 8, weight)
        assert float(loss(begun(labels), OUTPUTS, labels)) == pytest.approx(float(expected))
    expected = loss_between_halves(torch.tanh(OUTPUTS), LABELS, 10 / 8, None)
    balanced = begun(LABELS, weights="balanced")
    assert float(loss(balanced, OUTPUTS, LABELS)) == pytest.approx(float(expected))


def test_the_bank_holds_the_relaxed_codes_of_all_images_so_far():
    method = begun(LABELS, pairs="bank", alpha=0.1, weights="balanced")
    loss(method, OUTPUTS[:4], LABELS[:4], torch.arange(4))
    found = loss(method, OUTPUTS[4:], LABELS[4:], torch.arange(4, 6))
    codes = torch.tanh(OUTPUTS)
    similar = LABELS[4:, None] == LABELS[None]
    expected = logistic_loss(0.1 * codes[4:] @ codes.T, similar, weight=None)
    assert float(found) == pytest.approx(float(expected), rel=1e-5)
    assert set(method.state_dict()) == {"batches", "bank.outputs", "bank.seen"}
    assert set(begun(LABELS).state_dict()) == {"batches"} and method.share(1, 2) is None


def test_a_batch_without_similar_pairs_is_that_of_the_others():
    labels = torch.arange(6)
    terms = loss(begun(labels, weights="balanced"), OUTPUTS, labels)
    codes = torch.tanh(OUTPUTS)
    expected = torch.nn.functional.softplus(10 / 8 * codes[:3] @ codes[3:].T).mean()
    assert float(terms) == pytest.approx(float(expected), rel=1e-5)


@pytest.mark.parametrize(
    "options, sentence",
    [
        ({"alpha": 0}, "alpha must be a finite number, more than 0, got 0"),
        ({"every": 0}, "every must be an int of at least 1, got 0"),
        ({"weights": "none"}, "weights must be one of class, balanced, got 'none'"),
        ({"class_weight": -1}, "class_weight must be a finite number, more than 0, got -1"),
        (
            {"class_weight": 5, "weights": "balanced"},
            'class_weight must be left out unless weights is "class", got 5',
        ),
        ({"pairs": "all"}, "pairs must be one of halves, bank, got 'all'"),
    ],
)
def test_wrong_options_are_refused_by_name(options, sentence):
    with pytest.raises(ValueError, match=sentence):
        methods.build("hashnet", **options)
