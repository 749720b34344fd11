"""OrthoHash: one loss of cosines, with the released scale and margin."""

from types import SimpleNamespace

import pytest
import torch

from semicon_fast import methods
from semicon_fast.methods.class_centers import margin_cross_entropy

LABELS = torch.tensor([0, 1, 2, 0, 1, 2])


@pytest.mark.parametrize("several", [False, True])
def test_its_loss_is_the_margin_cross_entropy_of_a_batch(several):
    labels = torch.nn.functional.one_hot(LABELS).bool() if several else LABELS
    method = methods.build("orthohash")
    method.begin(labels, 8, torch.Generator().manual_seed(0))
    outputs = torch.randn(6, 8, generator=torch.Generator().manual_seed(1), requires_grad=True)
    terms = method.loss(SimpleNamespace(codes=outputs), labels, torch.arange(6))
    expected = margin_cross_entropy(outputs, method.centers, labels, 8.0, 0.2).mean()
    assert set(terms) == {"class"}
    assert float(terms["class"].detach()) == pytest.approx(float(expected.detach()))
    terms["class"].backward()
    assert bool(outputs.grad.any()) and not method.centers.requires_grad
    assert method.share(2, 8) == 0.25


@pytest.mark.parametrize(
    "options, sentence",
    [
        ({"scale": 0}, "scale must be a finite number, more than 0, got 0"),
        ({"margin": -0.1}, "margin must be a finite number, at least 0, got -0.1"),
    ],
)
def test_wrong_options_are_refused_by_name(options, sentence):
    with pytest.raises(ValueError, match=sentence):
        methods.build("orthohash", **options)
