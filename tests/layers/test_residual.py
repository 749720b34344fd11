"""The blocks of residual networks are torchvision's: parameters, values and gradients."""

import pytest
import torch
from torch import nn
from torchvision.models import resnet

from semicon_fast.layers import residual


def made(block, stride):
    """A block from one seed, with a projection where the shape changes."""
    torch.manual_seed(0)
    project = None
    if stride > 1:
        channels = 8 * block.expansion
        project = nn.Sequential(nn.Conv2d(32, channels, 1, stride, bias=False))
    return block(32, 32 // block.expansion if stride == 1 else 8, stride, project)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("name", ["BasicBlock", "Bottleneck"])
def test_a_block_is_torchvisions(name, stride, training):
    ours, theirs = (made(getattr(m, name), stride).train(training) for m in (residual, resnet))
    assert list(ours.state_dict()) == list(theirs.state_dict())
    assert ours.expansion == theirs.expansion and ours.stride == theirs.stride
    images = torch.randn(2, 32, 7, 7)
    for block in (ours, theirs):
        block(images).square().sum().backward()
    torch.testing.assert_close(ours(images), theirs(images), rtol=0, atol=0)
    for one, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=0)
        torch.testing.assert_close(one.grad, other.grad, rtol=0, atol=0)
