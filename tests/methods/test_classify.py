"""Classification: the outputs are the logits of the classes."""

import math

import pytest
import torch

from semicon_fast import methods
from semicon_fast.models import HashOutput

LABELS = torch.arange(3).repeat_interleave(4)


def begun(labels=LABELS, outputs=3):
    method = methods.build("classify")
    method.begin(labels, outputs, torch.Generator())
    return method


def test_the_loss_is_the_cross_entropy_of_the_outputs():
    method, logits = begun(), torch.randn(5, 3, generator=torch.Generator().manual_seed(0))
    labels = LABELS[:5]
    terms = method.loss(HashOutput(logits, torch.zeros(5, 2)), labels, torch.arange(5))
    likely = logits.softmax(1)[torch.arange(5), labels]
    assert list(terms) == ["class"]
    torch.testing.assert_close(terms["class"], -likely.log().mean())
    flat = method.loss(HashOutput(torch.zeros(5, 3), torch.zeros(5, 2)), labels, torch.arange(5))
    assert float(flat["class"]) == pytest.approx(math.log(3))
    assert method.share(2, 5) == 0.4 and method.learned_codes is None


def test_there_must_be_an_output_for_each_class_and_one_label_for_each_image():
    with pytest.raises(ValueError, match="code_length must be 3, the number of classes, got 12"):
        begun(outputs=12)
    with pytest.raises(ValueError, match="classify needs one label for each image"):
        begun(torch.ones(4, 3).bool())
