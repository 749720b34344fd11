"""SEM masks behind its 1x1 convolutions: the same maps as masking what they read."""

import copy

import pytest
import torch
import torch.nn.functional as F

from semicon_fast.layers import SEM


def masked_first(module, features):
    """The recursion as the paper writes it: P_{i+1} = f P_i, then the next map's convolution."""
    guidance, maps = module.layer4(features), []
    for i in range(module.parts):
        if maps:
            guidance = module._masked(guidance, maps[-1])
        maps.append(F.relu(module.get_submodule(f"feature{i + 1}")(guidance)))
    return torch.cat(maps, dim=1)


def alive(**options):
    with torch.random.fork_rng():
        torch.random.manual_seed(0)
        module = SEM(64, **options)
    for i in range(module.parts):
        module.get_submodule(f"feature{i + 1}.1").bias.data.fill_(0.5)
    return module


def features(dtype, layout=torch.contiguous_format):
    x = torch.randn(3, 64, 5, 6, generator=torch.Generator().manual_seed(1), dtype=dtype)
    return x.to(memory_format=layout)


OPTIONS = [{"variant": v} for v in ("paper", "official")] + [
    {"attention": "erase"},
    {"attention": "none", "parts": 2},
    {"parts": 1},
]


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("train", [False, True])
@pytest.mark.parametrize("options", OPTIONS)
def test_values_gradients_and_statistics_are_those_of_masking_first(options, train, layout):
    module = alive(**options).double().train(train)
    results = []
    for forward in (masked_first, SEM.__call__):
        own, x = copy.deepcopy(module), features(torch.float64, layout).requires_grad_()
        maps = forward(own, x)
        grads = torch.autograd.grad(maps.square().sum(), [x, *own.parameters()])
        results.append((maps.detach(), *grads, *own.state_dict().values()))
    for expected, found in zip(*results, strict=True):
        torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("variant", ["paper", "official"])
def test_bfloat16_is_as_good_as_masking_first(variant):
    module = alive(variant=variant).eval()
    truth = masked_first(copy.deepcopy(module).double(), features(torch.float64))
    errors = []
    for forward in (masked_first, SEM.__call__):
        with torch.autocast("cpu", torch.bfloat16):
            maps = forward(module, features(torch.float32))
        errors.append((maps.double() - truth).norm())
    assert errors[1] <= 2 * errors[0] + torch.finfo(torch.bfloat16).eps * truth.norm()
