"""ExchNet's objective: the terms, exchange and anchors, and what each step lowers."""

from types import SimpleNamespace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from semicon_fast import methods
from semicon_fast.methods.exchnet import mean_hellinger
from semicon_fast.models import HashOutput

C, N, K, PARTS, F = 4, 24, 8, 3, 6
LABELS = torch.arange(C).repeat_interleave(N // C)
MODEL = SimpleNamespace(network="exchnet", part_shape=(PARTS, F))


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def output(count, seed=0, **changes):
    draws = generator(seed)
    made = HashOutput(
        torch.randn(count, K, generator=draws).tanh(),
        torch.randn(count, F, generator=draws),
        torch.randn(count, PARTS, F, generator=draws),
        None,
        torch.randn(count, PARTS, 2, 2, generator=draws),
    )
    return made._replace(**changes)


def begun(labels=LABELS, k=K, kept=None, iterations=40, model=MODEL, **options):
    method = methods.build("exchnet", **options)
    method.begin(labels, k, generator(2))
    method.prepare(model, iterations, torch.arange(len(labels)) if kept is None else kept)
    return method


def exchanging(features=None, rows=None, **options):
    """A method in its first iteration that exchanges; (method, features of all images)."""
    method = begun(align=1, **options)
    features = output(N, seed=5).parts if features is None else features
    everything = torch.arange(N)
    method.take_features((output(6, parts=features[r]), r) for r in everything.split(6))
    method.start_iteration(1, everything if rows is None else rows)
    return method, features


# --- the terms


def test_hellinger_distance_of_two_distributions():
    halves = torch.tensor([[[0.5, 0.5, 0], [0.5, 0, 0.5]]]).log()
    assert float(mean_hellinger(halves)) == pytest.approx(0.70711, abs=5e-6)
    same, apart = torch.zeros(1, 2, 5), torch.tensor([[[0.0, -200], [-200, 0]]])
    assert float(mean_hellinger(same)) == 0 and float(mean_hellinger(apart)) == pytest.approx(1)
    three = torch.stack([apart[0, 0], apart[0, 1], apart[0, 0]])[None]
    assert float(mean_hellinger(three)) == pytest.approx(2 / 3)


@given(st.integers(0, 10_000), st.integers(2, 6), st.integers(2, 9), st.floats(0.01, 200))
@settings(max_examples=40, deadline=None)
def test_hellinger_is_the_definition_within_0_and_1_with_a_finite_gradient(seed, m, n, scale):
    values = (scale * torch.randn(3, m, n, generator=generator(seed))).double().requires_grad_()
    found = mean_hellinger(values)
    p = values.detach().softmax(2)
    pairs = [(i, j) for i in range(m) for j in range(i + 1, m)]
    wanted = sum((p[:, i].sqrt() - p[:, j].sqrt()).norm(dim=1) for i, j in pairs) / len(pairs)
    torch.testing.assert_close(found.detach(), wanted / 2**0.5, rtol=1e-9, atol=1e-12)
    assert ((found >= 0) & (found <= 1 + 1e-12)).all()
    (gradient,) = torch.autograd.grad(found.sum(), values)
    assert torch.isfinite(gradient).all()


def test_the_gradient_is_finite_where_probabilities_underflow():
    values = torch.tensor([[[0.0, -500, -500], [-500, 0, -500]]], requires_grad=True)
    mean_hellinger(values).sum().backward()
    assert torch.isfinite(values.grad).all()


@pytest.mark.parametrize("spatial, channel", [(1.0, 1.0), (0.5, 3.0)])
def test_identical_parts_cost_1_and_04_and_disjoint_ones_nothing(spatial, channel):
    method = begun(spatial=spatial, channel=channel)
    method.start_iteration(0, torch.arange(N))
    one = torch.randn(2, 1, F, generator=generator(1))
    same = output(
        2, parts=one.expand(2, PARTS, F), part_maps=torch.rand(2, 1, 2, 2).expand(2, PARTS, 2, 2)
    )
    terms = method.loss(same, LABELS[:2], torch.arange(2))
    assert float(terms["spatial"]) == pytest.approx(spatial)
    assert float(terms["channel"]) == pytest.approx(0.4 * channel)
    assert float(terms["alignment"]) == 0 and float(terms["quantisation"]) == 0
    apart = 300 * torch.eye(4)[:PARTS]
    disjoint = output(
        2,
        parts=torch.nn.functional.pad(apart, (0, 2)).expand(2, PARTS, F),
        part_maps=apart.unflatten(1, (2, 2)).expand(2, PARTS, 2, 2),
    )
    terms = method.loss(disjoint, LABELS[:2], torch.arange(2))
    assert float(terms["spatial"]) == pytest.approx(0, abs=1e-6) and float(terms["channel"]) == 0


def test_loss_at_zero_is_the_closed_form_for_the_95_classes_of_the_logs():
    labels = torch.arange(95).repeat_interleave(4)
    method = begun(labels, k=12, gamma=200)
    rows = torch.arange(len(labels))
    method.start_iteration(0, rows)
    method.end_iteration()
    method.start_iteration(1, rows)
    zero = output(len(labels), codes=torch.zeros(len(labels), 12))
    terms = method.loss(zero, labels, rows)
    assert float(terms["hash"]) == pytest.approx(1.5319, abs=5e-5)
    assert float(terms["quantisation"]) == pytest.approx(2400 / len(labels), rel=1e-12)


def test_hash_and_quantisation_are_those_of_semicon_and_quantisation_is_off_by_default():
    rows, batch = torch.arange(N), output(5)
    found = {}
    for name, options in (("semicon", {}), ("exchnet", {"gamma": 200.0}), ("exchnet", {})):
        method = begun(**options) if name == "exchnet" else methods.build(name)
        if name == "semicon":
            method.begin(LABELS, K, generator(2))
        method.start_iteration(0, rows)
        found[name, len(options)] = method.loss(batch, LABELS[:5], rows[:5])
    for term in ("hash", "quantisation"):
        assert torch.equal(found["semicon", 0][term], found["exchnet", 1][term])
    assert float(found["exchnet", 0]["quantisation"]) == 0


# --- exchange and alignment


def test_nothing_is_exchanged_or_computed_before_its_iteration():
    method = begun(iterations=6, align=2)
    assert [method.wants_features(i) for i in range(5)] == [False, False, True, True, True]
    for iteration in range(2):
        method.start_iteration(iteration, torch.arange(N))
        assert method.network_inputs(torch.arange(5)) == {}
    never = begun(align=None)
    never.start_iteration(39, torch.arange(N))
    assert not never.wants_features(39) and never.network_inputs(torch.arange(5)) == {}


@pytest.mark.parametrize("p", [0.0, 1.0])
def test_probabilities_0_and_1_exchange_nothing_and_everything(p):
    method, features = exchanging(exchange_probability=p)
    rows = torch.tensor([0, 7, 23])
    inputs = method.network_inputs(rows)
    assert bool((inputs["replaced"] == bool(p)).all())
    torch.testing.assert_close(inputs["anchors"][1], features[LABELS == 1].mean(0))
    terms = method.loss(output(3, parts=features[rows]), LABELS[rows], rows)
    distance = (features[rows] - inputs["anchors"]).norm() / 3
    assert float(terms["alignment"]) == pytest.approx(0 if p else float(distance), rel=1e-6)


def test_parts_are_drawn_by_the_methods_generator_alone_about_half_of_them():
    masks = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        method, _ = exchanging()
        masks.append(method.network_inputs(torch.arange(N))["replaced"])
        masks.append(method.network_inputs(torch.arange(N))["replaced"])
    assert torch.equal(masks[0], masks[2]) and torch.equal(masks[1], masks[3])
    assert not torch.equal(masks[0], masks[1])
    assert 0.35 < float(torch.cat(masks[:2]).float().mean()) < 0.65


@pytest.mark.parametrize("squared", [False, True])
def test_exchanged_parts_are_not_aligned_and_the_gradient_is_bounded(squared):
    method, _ = exchanging(squared=squared, alignment=2.0)
    rows = torch.arange(6)
    inputs = method.network_inputs(rows)
    parts = (100 * output(6, seed=9).parts).requires_grad_()
    term = method.loss(output(6, parts=parts), LABELS[rows], rows)["alignment"]
    (gradient,) = torch.autograd.grad(term, parts)
    replaced = inputs["replaced"]
    assert not gradient[replaced].any() and (gradient[~replaced] != 0).any(1).all()
    own = (parts - inputs["anchors"])[~replaced].detach()
    size = own.square().sum() if squared else own.norm()
    assert float(term.detach()) == pytest.approx(2 * float(size) / 6, rel=1e-5)
    if not squared:
        assert float(gradient.norm()) == pytest.approx(2 / 6, rel=1e-5)


def test_features_on_their_anchors_have_no_gradient_and_no_nan():
    method, features = exchanging(features=output(C, seed=5).parts[LABELS])
    parts = features[:4].clone().requires_grad_()
    term = method.loss(output(4, parts=parts), LABELS[:4], torch.arange(4))["alignment"]
    (gradient,) = torch.autograd.grad(term, parts)
    assert float(term.detach()) < 1e-6 and torch.isfinite(gradient).all()


# --- anchors


def test_anchors_are_class_means_and_that_of_one_image_is_its_feature():
    labels = torch.tensor([5, 9, 9, 2, 9])
    method = begun(labels, align=1)
    features = output(5, seed=3).parts
    method.take_features([(output(5, parts=features), torch.arange(5))])
    classes = [2, 5, 9]
    for anchor, label in zip(method.anchors, classes, strict=True):
        torch.testing.assert_close(anchor, features[labels == label].mean(0))
    assert torch.equal(method.anchors[1], features[0])
    assert method.anchor_images.tolist() == [1, 1, 3]


def test_the_class_of_an_image_with_several_labels_is_the_first():
    labels = torch.tensor([[1, 1, 0], [0, 1, 1], [0, 0, 1], [1, 0, 1]]).bool()
    method = begun(labels)
    assert method.classes.tolist() == [0, 1, 2, 0]


def test_running_anchors_are_the_means_of_an_iterations_own_batches():
    method = begun(align=1, anchors="running")
    assert not any(method.wants_features(i) for i in range(40))
    seen = torch.tensor([0, 1, 6, 7, 8])  # classes 0 and 1 only
    method.start_iteration(0, seen)
    found = []
    for epoch in range(2):
        batch = output(5, seed=epoch)
        found.append(batch.parts)
        method.loss(batch, LABELS[seen], seen)
    method.end_iteration()
    wanted = torch.cat([f[LABELS[seen] == 1] for f in found]).mean(0)
    torch.testing.assert_close(method.anchors[1], wanted)
    assert method.anchor_images.tolist() == [4, 6, 0, 0]

    method.start_iteration(1, torch.arange(N))
    rows = torch.tensor([0, 1, 12, 13])
    inputs = method.network_inputs(rows)
    assert not inputs["replaced"][2:].any() and inputs["replaced"][:2].any()
    parts = output(4, seed=7).parts.requires_grad_()
    term = method.loss(output(4, parts=parts), LABELS[rows], rows)["alignment"]
    (gradient,) = torch.autograd.grad(term, parts)
    assert torch.isfinite(gradient).all() and not gradient[2:].any() and gradient[:2].any()
    method.end_iteration()
    assert torch.isfinite(method.anchors).all() and method.anchor_images.tolist() == [2, 6, 2, 0]


# --- Algorithm 1


def objective(method, batch, rows):
    """J of Algorithm 1 with the squared norm: the terms of all sampled images."""
    method._replaced = None
    terms = method.loss(batch, LABELS[rows], rows)
    return {name: float(term) for name, term in terms.items()}


@given(st.integers(0, 10_000), st.sampled_from([0.0, 200.0]), st.integers(4, N))
@settings(max_examples=25, deadline=None)
def test_neither_the_codes_step_nor_the_anchors_step_raises_the_objective(seed, gamma, sampled):
    rows = torch.randperm(N, generator=generator(seed))[:sampled].sort().values
    method, _ = exchanging(squared=True, gamma=gamma, exchange_probability=0.0, rows=rows)
    # Anchors come from the images that the objective is over, as in the derivation of the update.
    batch = output(sampled, seed=seed)
    method.start_iteration(1, rows)
    before = objective(method, batch, rows)
    method.end_iteration()
    method.start_iteration(1, rows)
    codes_updated = objective(method, batch, rows)
    own = ("hash", "quantisation")
    # Standard normal codes are not of -1 and +1 yet: from the second sweep on it is a descent.
    method._store_outputs(batch.codes, rows)
    method.end_iteration()
    method.start_iteration(1, rows)
    again = objective(method, batch, rows)
    assert sum(again[t] for t in own) <= sum(codes_updated[t] for t in own) * (1 + 1e-9)
    method.take_features([(batch, rows)])
    anchors_updated = objective(method, batch, rows)
    assert anchors_updated["alignment"] <= again["alignment"] * (1 + 1e-5)
    assert all(anchors_updated[t] == again[t] for t in own)
    assert before["spatial"] == anchors_updated["spatial"]


def test_an_interrupted_iteration_goes_on_to_the_same_numbers():
    method, _ = exchanging(anchors="running")
    rows = torch.arange(N)
    method.network_inputs(rows[:6])
    method.loss(output(6), LABELS[:6], rows[:6])
    saved = {name: value.clone() for name, value in method.state_dict().items()}
    draws = method._generator.get_state()

    def onwards(one):
        inputs = one.network_inputs(rows[6:])
        terms = one.loss(output(18, seed=4), LABELS[6:], rows[6:])
        one.end_iteration()
        return [*inputs.values(), *terms.values(), *one.state_dict().values()]

    wanted = onwards(method)
    again = begun(align=1, anchors="running")
    again.start_iteration(1, rows)
    again.load_state_dict(saved)
    again._generator.set_state(draws)
    assert all(torch.equal(a, b) for a, b in zip(onwards(again), wanted, strict=True))


# --- wrong calls


@pytest.mark.parametrize(
    "call, sentence",
    [
        (lambda: begun(torch.zeros(5).long()), "at least 2 classes, got 1"),
        (lambda: begun(k=1), "code_length must be at least 2 for exchnet, got 1"),
        (lambda: begun(torch.eye(4, 3).bool()), "a label of every training image, got 1 without"),
        (lambda: begun(align=10, iterations=10), "align=10 and schedule.iterations=10"),
        (
            lambda: begun(kept=torch.arange(18)),
            r"1 of 4 classes.* training image 18, have no image",
        ),
        (
            lambda: begun(model=SimpleNamespace(network="semicon", part_shape=None)),
            "set model.network=exchnet; network 'semicon'",
        ),
        (lambda: begun(align=0), "align must be an int of at least 1, or None, got 0"),
        (lambda: begun(align=2.5), "align must be"),
        (lambda: begun(exchange_probability=1.5), "exchange_probability must be from 0 to 1"),
        (lambda: begun(anchors="mean"), "anchors must be one of pass, running, got 'mean'"),
        (lambda: begun(threshold=-1), "threshold must be a finite number, at least 0"),
        (lambda: begun(spatial=-1), "spatial must be"),
        (lambda: begun(channel=-1), "channel must be"),
        (lambda: begun(alignment=float("nan")), "alignment must be"),
    ],
)
def test_wrong_calls_are_one_sentence(call, sentence):
    with pytest.raises(ValueError, match=sentence):
        call()
