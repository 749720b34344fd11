"""Networks from configurations and back."""

import json

import pytest
import torch

from semicon_fast.models import NETWORKS, build

CONFIGS = [
    {"network": "small", "code_length": 12, "width": 8},
    {"network": "dsh", "code_length": 12, "image_size": 64, "extended": True},
    {"network": "backbone", "code_length": 16, "backbone": "tiny"},
    {"network": "backbone", "code_length": 16, "backbone": "micro", "norm": True},
    {"network": "exchnet", "code_length": 12, "parts": 3, "backbone": "micro"},
    {"network": "a2net", "code_length": 12, "parts": 3, "backbone": "micro"},
    {
        "network": "semicon",
        "code_length": 20,
        "parts": 2,
        "backbone": "tiny",
        "variant": "official",
        "attention": "erase",
        "icon": "one-step",
        "alpha": 0.7,
    },
    {
        "network": "ensemble",
        "code_length": 20,
        "networks": [
            {"network": "dsh", "code_length": 12, "image_size": 32, "extended": False},
            {"network": "small", "code_length": 8, "width": 8},
        ],
    },
]


@pytest.mark.parametrize("config", CONFIGS, ids=lambda c: c["network"])
def test_config_is_what_build_was_given(config):
    with torch.device("meta"):
        model = build(config)
        again = build(json.loads(json.dumps(model.config())))
    assert model.config() == again.config() == config
    assert model.network == config["network"] in NETWORKS
    assert {k: v.shape for k, v in model.state_dict().items()} == {
        k: v.shape for k, v in again.state_dict().items()
    }


@pytest.mark.parametrize("config", CONFIGS[:6], ids=lambda c: c["network"])
def test_a_seed_fixes_the_weights_and_leaves_the_global_generator_alone(config):
    before = torch.random.get_rng_state()
    first, second, other = build(config, seed=3), build(config, seed=3), build(config, seed=4)
    assert torch.equal(torch.random.get_rng_state(), before)
    for (_, a), (_, b) in zip(first.named_parameters(), second.named_parameters(), strict=True):
        assert torch.equal(a, b)
    assert not torch.equal(first.hash.weight, other.hash.weight)


@pytest.mark.parametrize("config", CONFIGS, ids=lambda c: c["network"])
def test_bits_are_named_once_each_and_in_order(config):
    with torch.device("meta"):
        model = build(config)
    named = [bit for group in model.bit_groups.values() for bit in range(*group.indices(10**6))]
    assert named == list(range(config["code_length"]))
    first = "network1" if config["network"] == "ensemble" else "global"
    assert next(iter(model.bit_groups)) == first


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"network": "alexnet"}, "network must be one of a2net, .*small, got 'alex"),
        ({"code_length": 12}, "network must be one of .* got None"),
        ({"network": "small"}, "network 'small' needs a code_length"),
        ({"network": "small", "code_length": 12, "depth": 3}, "has no option depth; it has"),
        ({"network": "backbone", "code_length": 12, "backbone": "vgg"}, "backbone must be one of"),
    ],
)
def test_wrong_configurations_are_named(config, message):
    with pytest.raises(ValueError, match=message):
        build(config)
