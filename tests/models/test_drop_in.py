"""A network that someone else wrote around the released module, with `ICON` in its place."""

import copy
import re
from pathlib import Path

import pytest
import torch
from torch import nn

import semicon_fast as sf

README = Path(__file__).resolve().parents[2] / "README.md"


class ChannelTransformer(nn.Module):
    """The released interface and behaviour in other words: (dim, num_heads), norm, qkv, qkv2."""

    def __init__(self, dim, num_heads):
        super().__init__()
        self.num_heads = num_heads
        self.norm, self.relu = nn.BatchNorm2d(dim), nn.ReLU(inplace=True)
        self.qkv = nn.Conv2d(dim, dim * 3, 1, groups=num_heads)
        self.qkv2 = nn.Conv2d(dim, dim * 3, 1, groups=dim // num_heads)

    @staticmethod
    def mixed(convolution, x):
        batch, dim, height, width = x.shape
        heads = convolution.groups
        q, k, v = convolution(x).view(batch, 3, heads, dim // heads, height * width).unbind(1)
        scores = torch.matmul(q, k.mT) / (dim // heads) ** 0.5
        scores = scores.sign() * (scores.abs() + 1e-5).sqrt()
        return torch.matmul(torch.softmax(scores, dim=-1), v)

    def forward(self, x):
        tokens = x.shape[1] // self.num_heads
        y = self.mixed(self.qkv, x).flatten(1, 2).view_as(x) + x
        y = y.unflatten(1, (self.num_heads, tokens)).transpose(1, 2).flatten(1, 2)
        y = self.norm(y)
        z = self.mixed(self.qkv2, self.relu(y)).transpose(1, 2).flatten(1, 2)
        return z.reshape(x.shape) + y


class TheirNetwork(nn.Module):
    """Someone's classifier: two stages, the module twice, a pooled linear layer."""

    def __init__(self):
        super().__init__()
        self.layer3 = nn.Sequential(nn.Conv2d(3, 48, 3, stride=2), nn.BatchNorm2d(48), nn.ReLU())
        self.layer4 = nn.Sequential(
            ChannelTransformer(48, 16), nn.Conv2d(48, 48, 3, padding=1), ChannelTransformer(48, 4)
        )
        self.head = nn.Linear(48, 5)

    def forward(self, images):
        return self.head(self.layer4(self.layer3(images)).mean((2, 3)))


def theirs(dtype, train):
    torch.manual_seed(0)
    return TheirNetwork().to(dtype).train(train)


def by_hand(model):
    """One assignment a module, then the whole network's own state dict."""
    state = copy.deepcopy(model.state_dict())
    dtype = model.head.weight.dtype
    model.layer4[0] = sf.ICON(48, 16, variant="official").to(dtype)
    model.layer4[2] = sf.ICON(48, 4, variant="official").to(dtype)
    model.layer4.train(model.training)
    model.load_state_dict(state, strict=True)
    return model


def as_in_the_readme(model):
    names = {"sf": sf}
    blocks = re.findall(r"```python\n(.*?)```", README.read_text("utf-8"), re.S)
    (block,) = [b for b in blocks if "ChannelTransformer" in b]
    exec(block, names)
    return names["with_icon"](model)


@pytest.mark.parametrize("replace", [by_hand, as_in_the_readme])
@pytest.mark.parametrize("train", [False, True])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-8), (torch.float32, 1e-3)])
def test_outputs_gradients_and_statistics_are_those_of_the_released_module(
    dtype, tolerance, train, replace
):
    images = torch.randn(4, 3, 15, 13, generator=torch.Generator().manual_seed(1)).to(dtype)
    models = [theirs(dtype, train), replace(theirs(dtype, train))]
    kinds = [sum(isinstance(m, sf.ICON) for m in model.modules()) for model in models]
    assert kinds == [0, 2]
    assert set(models[0].state_dict()) == set(models[1].state_dict())
    results = []
    for model in models:
        given = images.clone().requires_grad_()
        out = model(given)
        out.square().sum().backward()
        found = {"output": out, "images": given.grad, **dict(model.named_buffers())}
        results.append({**found, **{n: p.grad for n, p in model.named_parameters()}})
    for name, released in results[0].items():
        torch.testing.assert_close(
            results[1][name], released, rtol=tolerance, atol=tolerance, msg=name
        )
