"""A2-Net's objective: reconstruction and decorrelation, when they begin, the published logs."""

from types import SimpleNamespace

import pytest
import torch

from semicon_fast import methods
from semicon_fast.methods.a2net import decorrelation
from semicon_fast.models import HashOutput

C, N, K, PARTS, F = 4, 24, 8, 3, 6
LABELS = torch.arange(C).repeat_interleave(N // C)
MODEL = SimpleNamespace(network="a2net", decodes=True)


def hadamard(order):
    """A matrix of -1 and +1 with orthogonal columns; order: a power of 2."""
    made = torch.ones(1, 1)
    while len(made) < order:
        made = torch.cat([torch.cat([made, made], 1), torch.cat([made, -made], 1)])
    return made


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def output(count, seed=0, **changes):
    draws = generator(seed)
    made = HashOutput(
        torch.randn(count, K, generator=draws).tanh(),
        torch.randn(count, F, generator=draws),
        torch.randn(count, PARTS, F, generator=draws),
        decoded=torch.randn(count, (PARTS + 1) * F, generator=draws),
    )
    return made._replace(**changes)


def begun(iteration=0, iterations=4, labels=LABELS, k=K, **options):
    method = methods.build("a2net", **options)
    method.begin(labels, k, generator(2))
    method.prepare(MODEL, iterations, torch.arange(len(labels)))
    method.start_iteration(iteration, torch.arange(len(labels)))
    return method


def test_balanced_and_uncorrelated_bits_cost_nothing():
    codes = hadamard(16)[:, 1:9]
    assert torch.equal(codes.T @ codes, 16 * torch.eye(8))
    assert float(decorrelation(codes)) == 0
    # The same bit twice, and all outputs 0.
    twice = codes[:, [0, 0]]
    assert float(decorrelation(twice)) == pytest.approx(2 * 16**2 / 4 / (16 * 2))
    assert float(decorrelation(torch.zeros(16, 12))) == pytest.approx(16 / 12**2)


def test_decorrelation_is_over_the_images_that_there_are():
    """Also in a last batch that is smaller than the others."""
    codes = hadamard(4)[:, :3]
    assert float(decorrelation(codes)) == 0
    u = torch.randn(5, 3, generator=generator()).double()
    table = u.T @ u - 5 * torch.eye(3).double()
    assert float(decorrelation(u)) == pytest.approx(float(table.square().sum() / 9 / 15))


def test_the_reconstruction_is_the_mean_square_over_images_and_features():
    method, batch = begun(iteration=2, reconstruction=0.5, decorrelation=3.0), output(5)
    terms = method.loss(batch, LABELS[:5], torch.arange(5))
    features = torch.cat([batch.parts.flatten(1), batch.features], 1)
    wanted = 0.5 * (batch.decoded - features).square().mean()
    torch.testing.assert_close(terms["reconstruction"], wanted)
    torch.testing.assert_close(terms["decorrelation"], 3 * decorrelation(batch.codes))


def test_the_features_are_no_constant_of_the_reconstruction():
    features = torch.randn(5, F, generator=generator()).requires_grad_()
    terms = begun(iteration=2).loss(output(5, features=features), LABELS[:5], torch.arange(5))
    (gradient,) = torch.autograd.grad(terms["reconstruction"], features)
    assert gradient.abs().min() > 0


@pytest.mark.parametrize(
    "iterations, finetune, first",
    [(40, None, 20), (5, None, 2), (1, None, 0), (4, 3, 3), (4, 0, 0)],
)
def test_fine_tuning_is_the_second_half(iterations, finetune, first):
    plain = methods.build("semicon")
    plain.begin(LABELS, K, generator(2))
    plain.start_iteration(0, torch.arange(N))
    wanted = plain.loss(output(5), LABELS[:5], torch.arange(5))
    for iteration in range(iterations):
        method = begun(iteration, iterations, finetune=finetune)
        terms = method.loss(output(5), LABELS[:5], torch.arange(5))
        assert [float(terms[name]) for name in wanted] == [float(v) for v in wanted.values()]
        late = [float(terms[name]) > 0 for name in ("reconstruction", "decorrelation")]
        assert late == [iteration >= first] * 2 and len(terms) == 4


def test_before_the_fine_tuning_nothing_needs_to_be_decoded():
    found = output(5, parts=None, decoded=None)
    assert float(begun().loss(found, LABELS[:5], torch.arange(5))["reconstruction"]) == 0


def test_the_numbers_of_the_published_log_belong_together():
    """Aircraft's first 95 classes at 12 bits, iteration 1, epoch 1: hash 1.7494, quantisation
    .3826, decorrelation .1072. Codes are standard normal there, so that hash is its closed form
    144 p / (1 - p) for outputs of 0, plus |u|^2; decorrelation says how large |u|^2 is."""
    images = round(6667 * 95 / 100)
    labels = torch.arange(95 * 67) % 95
    method = begun(labels=labels, k=12, iterations=40)
    zero = HashOutput(torch.zeros(16, 12), torch.zeros(16, 1))
    at_zero = method.loss(zero, labels[:16], torch.arange(16))
    assert float(at_zero["hash"]) == pytest.approx(144 / 94)
    # 12 gamma / N of standard normal codes: 2400 / N on the average over all images.
    assert 2400 / images == pytest.approx(0.3790, abs=1e-4)
    # For U^T U = s B I, (1 - s)^2 B / k^2 = .1072.
    share = 1 - (0.1072 * 12**2 / 16) ** 0.5
    codes = share**0.5 * hadamard(16)[:, 1:13]
    assert float(decorrelation(codes)) == pytest.approx(0.1072)
    found = method.loss(HashOutput(codes, zero.features), labels[:16], torch.arange(16))
    assert float(found["hash"]) == pytest.approx(1.7494, rel=0.01)
    # The logged outputs have begun to follow the codes of their images.
    assert 2400 / images < 0.3826 < 2400 / images * (1 + share)


@pytest.mark.parametrize(
    "options, message",
    [
        ({"reconstruction": -1}, "reconstruction must be a finite number, at least 0, got -1"),
        ({"decorrelation": float("inf")}, "decorrelation must be a finite number"),
        ({"finetune": -1}, "finetune must be an int of at least 0, or None, got -1"),
        ({"finetune": 1.5}, "finetune must be an int"),
    ],
)
def test_wrong_options_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        methods.build("a2net", **options)


def test_networks_and_schedules_that_do_not_fit_are_refused():
    method = methods.build("a2net", finetune=4)
    method.begin(LABELS, K, generator())
    with pytest.raises(RuntimeError, match="call prepare"):
        method.start_iteration(0, torch.arange(N))
    with pytest.raises(ValueError, match="finetune=4 and schedule.iterations=4"):
        method.prepare(MODEL, 4, torch.arange(N))
    other = SimpleNamespace(network="exchnet", decodes=False)
    with pytest.raises(ValueError, match="set model.network=a2net; network 'exchnet' decodes no"):
        method.prepare(other, 40, torch.arange(N))
