"""Triplet loss with semi-hard sampling against triplets on the unit circle."""

import math
import sys

import pytest
import torch

from semicon_fast import methods
from semicon_fast.models.outputs import HashOutput

pytest.importorskip("pytorch_metric_learning")


def on_circle(*degrees):
    angles = torch.tensor([math.radians(d) for d in degrees], dtype=torch.float64)
    # Of different lengths: only directions count.
    lengths = torch.arange(1, len(degrees) + 1)
    return (torch.stack([angles.cos(), angles.sin()], 1) * lengths[:, None]).requires_grad_()


def loss_of(points, labels, **options):
    method = methods.build("triplet", **options)
    method.begin(labels, 2, torch.Generator())
    output = HashOutput(points, points)
    return method.loss(output, labels, torch.arange(len(labels)))["triplet"]


def distance(a, b, power):
    return (2 * math.sin(math.radians(abs(a - b)) / 2)) ** power


def by_hand(degrees, labels, margin, power):
    losses = []
    for a, p, n in ((a, p, n) for a in range(3) for p in range(3) for n in range(3)):
        if a == p or labels[a] != labels[p] or labels[a] == labels[n]:
            continue
        gap = distance(degrees[a], degrees[n], power) - distance(degrees[a], degrees[p], power)
        if 0 < gap <= margin:
            losses.append(margin - gap)
    return sum(losses) / len(losses) if losses else 0.0


@pytest.mark.parametrize("power", [1, 2])
@pytest.mark.parametrize("negative", [-15, -25, -30, -32, -60])
def test_semi_hard_triplets(power, negative):
    degrees, labels = (0, 20, negative), torch.tensor([0, 0, 1])
    found = loss_of(on_circle(*degrees), labels, power=power)
    assert float(found.detach()) == pytest.approx(by_hand(degrees, labels, 0.2, power), abs=1e-6)


def test_published_example():
    # Anchor 0, positive 20 degrees, negative 25: d_an - d_ap = .43288 - .34730 (not squared).
    found = by_hand((0, 20, -25), (0, 0, 1), 0.2, 1)
    assert found == pytest.approx(0.11442, abs=1e-5)


def test_without_triplets_the_loss_is_zero_and_has_a_gradient():
    points = on_circle(0, 120, 240)
    found = loss_of(points, torch.tensor([0, 1, 2]))
    found.backward()
    assert float(found.detach()) == 0 and points.grad.abs().max() == 0


def test_descent_separates_the_classes():
    labels = torch.arange(4).repeat(6)
    points = torch.randn(24, 8, generator=torch.Generator().manual_seed(0)).requires_grad_()
    method = methods.build("triplet", margin=0.5)
    optimizer = torch.optim.SGD([points], lr=5.0)
    for _ in range(300):
        optimizer.zero_grad()
        method.loss(HashOutput(points, points), labels, labels)["triplet"].backward()
        optimizer.step()
    unit = torch.nn.functional.normalize(points.detach(), dim=1)
    apart = torch.cdist(unit, unit) + 9 * torch.eye(24)
    assert (labels[apart.argmin(1)] == labels).float().mean() >= 0.9


@pytest.mark.parametrize(
    "options, words", [({"margin": 0}, "margin must be"), ({"power": 3}, "power must be 1 or 2")]
)
def test_wrong_options(options, words):
    with pytest.raises(ValueError, match=words):
        methods.build("triplet", **options)


def test_several_labels_are_refused():
    with pytest.raises(ValueError, match="triplet needs one label for each image"):
        methods.build("triplet").begin(torch.ones(3, 2, dtype=torch.bool), 2, torch.Generator())


def test_without_the_package_a_sentence_names_the_extra(monkeypatch):
    for name in [m for m in sys.modules if m.startswith("pytorch_metric_learning")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "pytorch_metric_learning", None)
    with pytest.raises(ValueError, match=r"semicon_fast\[metric\]"):
        methods.build("triplet")
