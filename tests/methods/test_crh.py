"""CRH: heads and their words, the costs, both assignments, and when centers are reassigned."""

import math
import sys
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from semicon_fast import methods
from semicon_fast.methods.class_centers import margin_cross_entropy
from semicon_fast.methods.crh import greedy_assignment, head_bits, reassignment_costs

LABELS = torch.arange(5).repeat(4)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def begun(labels=LABELS, bits=12, **options):
    method = methods.build("crh", **options)
    method.begin(labels, bits, seeded())
    method.start_iteration(0, torch.arange(len(labels)))
    return method


def loss(method, outputs, labels=LABELS):
    return method.loss(SimpleNamespace(codes=outputs), labels, torch.arange(len(outputs)))


@pytest.mark.parametrize(
    "length, classes, bits, heads",
    [
        *((12, classes, 12, 1) for classes in (100, 200, 555)),
        (24, 100, 8, 3),
        *((24, classes, 12, 2) for classes in (200, 555)),
        (32, 100, 8, 4),
        *((32, classes, 16, 2) for classes in (200, 555)),
        (48, 100, 8, 6),
        *((48, classes, 12, 4) for classes in (200, 555)),
        (64, 100, 8, 8),
        *((64, classes, 16, 4) for classes in (200, 555)),
    ],
)
def test_heads_have_the_least_bits_that_hold_two_words_a_class(length, classes, bits, heads):
    assert head_bits(length, 2 * classes) == bits and heads * bits == length


def test_a_code_too_short_for_two_words_a_class_is_refused():
    with pytest.raises(ValueError, match="codes of at least 9 bits.*400 in all, got code_length 8"):
        begun(torch.arange(200), 8)


@pytest.mark.parametrize("classes, bits", [(5, 12), (3, 8), (40, 34), (7, 4)])
def test_words_and_centers_are_different_in_every_head(classes, bits):
    method = begun(torch.arange(classes), bits)
    heads, words, size = method.words.shape
    assert words == 2 * classes and heads * size == bits
    assert bool((method.words.abs() == 1).all())
    for head in method.words:
        assert len(head.unique(dim=0)) == words
    parts = method.centers.unflatten(1, (heads, size))
    assert all(len(parts[:, head].unique(dim=0)) == classes for head in range(heads))


@given(st.integers(2, 6), st.integers(1, 3), st.integers(2, 5), st.integers(0, 99))
def test_costs_are_the_mean_squared_distances(classes, heads, bits, seed):
    codes = torch.randint(0, 2, (classes, 7, heads * bits), generator=seeded(seed)) * 2.0 - 1
    words = torch.randint(0, 2, (heads, 5, bits), generator=seeded(seed + 1)) * 2.0 - 1
    costs = reassignment_costs(codes.mean(1), words)
    parts = codes.unflatten(2, (heads, bits))
    for head in range(heads):
        away = parts[:, :, None, head] - words[head]
        expected = away.square().sum(3).mean(1)
        assert torch.allclose(costs[head], expected, atol=1e-5)


def total(costs, chosen):
    return costs.gather(2, chosen[:, :, None]).sum((1, 2))


def test_the_greedy_classes_take_the_cheapest_word_that_is_left():
    costs = torch.tensor([[[1.0, 2.0, 9.0], [0.0, 5.0, 9.0]]])
    found = {tuple(greedy_assignment(costs, seeded(s))[0].tolist()) for s in range(20)}
    # The first class to choose takes word 0; then the other takes word 1.
    assert found == {(0, 1), (1, 0)}


@pytest.mark.parametrize("seed", range(5))
def test_the_optimal_assignment_costs_no_more_than_any_other(seed):
    """Neither than the greedy one nor, for the same codes, than the one before."""
    pytest.importorskip("scipy")
    method = begun(assign="optimal")
    for _ in range(3):
        outputs = torch.randn(20, 12, generator=seeded(seed))
        loss(method, outputs)
        means = method.sums / method.images[:, None]
        costs, before = reassignment_costs(means, method.words.double()), method.assignment.clone()
        method.end_iteration()
        now = total(costs, method.assignment)
        assert bool((now <= total(costs, before) + 1e-9).all())
        assert bool((now <= total(costs, greedy_assignment(costs, seeded())) + 1e-9).all())
        assert all(len(head.unique()) == 5 for head in method.assignment)
        method.start_iteration(1, torch.arange(20))


def test_after_an_iteration_classes_have_the_words_that_their_codes_are_near_to():
    method = begun()
    wanted = method.words[:, [7, 2, 9, 0, 5]].transpose(0, 1).flatten(1)
    noise = 0.1 * torch.randn(20, 12, generator=seeded())
    before = method.centers.clone()
    loss(method, wanted[LABELS] + noise)
    assert torch.equal(method.centers, before)
    method.end_iteration()
    assert torch.equal(method.centers, wanted)
    assert torch.equal(method.assignment[0], torch.tensor([7, 2, 9, 0, 5]))
    assert torch.equal(method.learned_codes, wanted[LABELS])


def test_a_class_without_images_in_an_iteration_keeps_its_words():
    method = begun()
    own = method.centers.clone()
    loss(method, own[LABELS][:4], LABELS[:4])
    method.end_iteration()
    assert torch.equal(method.centers, own) and method.images.tolist() == [1, 1, 1, 1, 0]


def test_codes_of_earlier_iterations_do_not_count():
    method = begun()
    loss(method, torch.ones(20, 12))
    method.start_iteration(1, torch.arange(20))
    assert not bool(method.sums.any()) and not bool(method.images.any())


def test_images_of_several_labels_count_for_each_in_equal_shares():
    labels = torch.tensor([[True, True, False], [True, False, False], [False, False, True]])
    method = begun(labels, 4)
    outputs = torch.tensor([[1.0, 2.0, -1.0, 0.0], [-3.0, 1.0, -1.0, 1.0], [1.0] * 4])
    terms = loss(method, outputs, labels)
    assert method.images.tolist() == [1.5, 0.5, 1.0]
    assert method.sums[0].tolist() == [-0.5, 1.5, -1.5, 1.5]
    assert method.sums[1].tolist() == [0.5, 0.5, -0.5, 0.5]
    assert float(terms["quantisation"]) == 0


@pytest.mark.parametrize(
    "first, every, after", [(20, 5, {*range(20), 24, 29}), (0, 3, {2, 5, 8, 11, 14, 17, 20, 23})]
)
def test_centers_are_reassigned_after_the_published_iterations(first, every, after):
    method = begun(first=first, every=every)
    changed = set()
    for iteration in range(30 if first else 24):
        method.start_iteration(iteration, torch.arange(20))
        loss(method, torch.randn(20, 12, generator=seeded(iteration)))
        before = method.centers.clone()
        method.end_iteration()
        if not torch.equal(before, method.centers):
            changed.add(iteration)
    assert changed == after


def test_the_loss_is_the_margin_cross_entropy_with_the_published_scale():
    method, outputs = begun(), torch.randn(20, 12, generator=seeded(1))
    terms = loss(method, outputs)
    scale = math.sqrt(2) * math.log(4)
    expected = margin_cross_entropy(outputs, method.centers, LABELS, scale, 0.2).mean()
    assert float(terms["class"]) == pytest.approx(float(expected))
    distance = (torch.tanh(outputs).abs() - 1).square().mean()
    assert float(terms["quantisation"]) == pytest.approx(0.1 * float(distance))
    assert method.share(2, 8) is None


def test_all_that_an_interrupted_iteration_needs_is_in_its_state():
    assert set(begun().state_dict()) == {"centers", "words", "assignment", "sums", "images"}


def test_two_classes_need_a_scale():
    labels = torch.tensor([0, 1])
    with pytest.raises(ValueError, match="0 for 2 classes: set scale to a number above 0"):
        begun(labels, 4)
    assert begun(labels, 4, scale=3.0).scale == 3


@pytest.mark.parametrize(
    "options, sentence",
    [
        ({"scale": 0}, "scale must be a finite number, more than 0"),
        ({"margin": -1}, "margin must be a finite number, at least 0"),
        ({"quantisation": -1}, "quantisation must be a finite number, at least 0"),
        ({"first": -1}, "first must be an int of at least 0, got -1"),
        ({"every": 0}, "every must be an int of at least 1, got 0"),
        ({"assign": "best"}, "assign must be one of greedy, optimal, got 'best'"),
    ],
)
def test_wrong_options_are_refused_by_name(options, sentence):
    with pytest.raises(ValueError, match=sentence):
        methods.build("crh", **options)


def test_without_scipy_the_optimal_assignment_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "scipy.optimize", None)
    with pytest.raises(ValueError, match=r"scipy.*pip install 'semicon_fast\[assignment\]'"):
        methods.build("crh", assign="optimal")
