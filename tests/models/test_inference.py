"""The folded network is the network: values, bits, what it leaves alone."""

import copy

import pytest
import torch
from torch import nn

from semicon_fast.models import build, for_inference, inference

NETWORKS = {
    "semicon, bottlenecks": {"network": "semicon", "backbone": "resnet50"},
    "semicon, official": {"network": "semicon", "backbone": "tiny", "variant": "official"},
    "semicon, no icon": {"network": "semicon", "backbone": "resnet18", "icon": "none"},
    "exchnet": {"network": "exchnet", "backbone": "tiny"},
    "a2net": {"network": "a2net", "backbone": "tiny", "parts": 2},
    "vanilla": {"network": "backbone", "backbone": "tiny"},
    "normalised bits": {"network": "backbone", "backbone": "micro", "norm": True},
    "small": {"network": "small", "width": 4},
    "dsh": {"network": "dsh"},
    "ensemble": {
        "network": "ensemble",
        "networks": [
            {"network": "semicon", "code_length": 12, "backbone": "tiny"},
            {"network": "dsh", "code_length": 12},
        ],
    },
}


def trained(name):
    """A network whose BatchNorm layers have something to fold."""
    model = build({"code_length": 24, **NETWORKS[name]}, seed=3)
    draw = torch.Generator().manual_seed(5)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor, low, high in (
                (module.weight, 0.5, 1.5),
                (module.bias, -0.2, 0.4),
                (module.running_mean, -0.3, 0.3),
                (module.running_var, 0.5, 2.0),
            ):
                tensor.data.uniform_(low, high, generator=draw)
    return model


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("few", [None, 3])
def test_codes_are_as_exact_as_the_models_and_bits_differ_nowhere_else(name, few, monkeypatch):
    if few is not None:
        monkeypatch.setattr(inference, "BATCH_PIXELS", few * 32 * 32)
    model = trained(name).eval()
    images = torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        exact = copy.deepcopy(model).double()(images.double()).codes
        plain, folded = model(images).codes, for_inference(model)(images).codes
    own, given = ((codes - exact).abs() for codes in (folded, plain))
    floor = 32 * torch.finfo(torch.float32).eps
    assert own.max() <= 2 * given.max() + floor
    # A sign can only change where the error is as large as the code.
    sure = exact.abs() > torch.maximum(own.max(), given.max())
    assert sure.float().mean() > 0.9
    assert torch.equal((folded >= 0)[sure], (plain >= 0)[sure])


@pytest.mark.parametrize("name", ["semicon, official", "vanilla", "small", "ensemble"])
def test_folding_leaves_only_what_it_must(name):
    model = trained(name)
    before = copy.deepcopy(model.state_dict())
    count = sum(isinstance(m, nn.BatchNorm2d) for m in model.modules())
    folded = for_inference(model)
    left = [n for n, m in folded.named_modules() if isinstance(m, nn.BatchNorm2d)]
    # Three heads, the layer that adds to the product with the maps, four inside ICON.
    assert len(left) == (8 if name.startswith(("semicon", "ensemble")) else 0) < count
    after = model.state_dict()
    assert model.training and all(torch.equal(after[k], v) for k, v in before.items())


def test_a_hook_keeps_its_layer():
    model = trained("small")
    seen = []
    model.features[0][0].register_forward_hook(lambda *_: seen.append(1))
    folded = for_inference(model)
    folded(torch.zeros(1, 3, 16, 16))
    assert seen and sum(isinstance(m, nn.BatchNorm2d) for m in folded.modules()) == 1
