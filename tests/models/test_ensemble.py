"""Ensembles: codes side by side, whose distance is the sum of the networks' distances."""

import numpy as np
import pytest
import torch

from semicon_fast import HammingIndex, metrics, models
from semicon_fast.encoding import Runner
from semicon_fast.models import DSHNet, Ensemble, SmallHashNet
from semicon_fast.report import explain
from semicon_fast.search import part_distances

PREPROCESS = {"recipe": "plain", "size": 32, "mean": [0.5] * 3, "std": [0.25] * 3}
CONFIGS = (
    {"network": "dsh", "code_length": 12},
    {"network": "small", "code_length": 7, "width": 4},
    {"network": "dsh", "code_length": 12},
)


def images(count=9, seed=0):
    return torch.randn(count, 3, 32, 32, generator=torch.Generator().manual_seed(seed))


def members():
    """Networks with 12, 7 and 12 bits: the second one begins and ends within bytes."""
    made = [models.build(config, seed=seed).eval() for seed, config in enumerate(CONFIGS)]
    for network in made:
        network.preprocess = PREPROCESS
        # Bits that differ between images, not only between networks.
        codes = network(images(32, 5)).codes
        with torch.no_grad():
            network.hash.bias.sub_(codes.mean(0))
    return made


def test_codes_and_features_stand_side_by_side():
    networks = members()
    model, x = Ensemble(networks), images()
    out = model(x)
    assert torch.equal(out.codes, torch.cat([network(x).codes for network in networks], 1))
    assert torch.equal(out.features, torch.cat([network(x).features for network in networks], 1))
    assert model.code_length == 31 and model.feature_size == out.features.shape[1] == 1016
    assert out.parts is None and out.maps is None and model.preprocess == PREPROCESS
    assert model.bit_groups == {
        "network1": slice(0, 12), "network2": slice(12, 19), "network3": slice(19, 31),
    }  # fmt: skip


def test_the_distance_is_the_sum_of_the_networks_distances_exactly():
    networks, x, y = members(), images(9), images(40, 1)
    model = Ensemble(networks)
    total = np.zeros((9, 40), dtype=np.int64)
    for network in networks:
        index = HammingIndex(network.code_length)
        index.add(network.encode(y))
        distances, ids = index.search(network.encode(x), 40)
        table = np.empty((9, 40), dtype=np.int64)
        np.put_along_axis(table, ids.numpy(), distances.numpy(), axis=1)
        assert table.std() > 0
        total += table
    index = HammingIndex(31, bit_groups=model.bit_groups)
    index.add(model.encode(y))
    distances, ids, parts = index.search(model.encode(x), 40, by_part=True)
    assert np.array_equal(distances.numpy(), np.take_along_axis(total, ids.numpy(), axis=1))
    assert torch.equal(parts.sum(2).int(), distances)


def test_the_parts_of_the_code_are_the_networks_and_their_combinations():
    networks, x = members(), images(24)
    model, labels = Ensemble(networks), torch.arange(24) % 3
    codes = model.encode(x)
    found = metrics.part_contributions(
        codes, codes, labels, labels, bits=31, bit_groups=model.bit_groups, ties="expected"
    )
    for name, network in zip(model.bit_groups, networks, strict=True):
        alone = network.encode(x)
        options = {"bits": network.code_length, "ties": "expected"}
        wanted = metrics.mean_average_precision(alone, alone, labels, labels, **options)
        assert found["alone"][name] == wanted
    pair = Ensemble(networks[:2]).encode(x)
    wanted = metrics.mean_average_precision(pair, pair, labels, labels, bits=19, ties="expected")
    assert found["cumulative"]["network1+network2"] == wanted


def test_saved_and_loaded_it_encodes_the_same(tmp_path):
    model, x = Ensemble(members()), images()
    models.save(model, tmp_path / "model.safetensors")
    again = models.load(tmp_path / "model.safetensors", 31)
    assert isinstance(again, Ensemble) and again.config() == model.config()
    assert again.preprocess == PREPROCESS and again.bit_groups == model.bit_groups
    assert torch.equal(again.encode(x), model.encode(x))
    pixels = torch.randint(0, 256, (4, 3, 32, 32), dtype=torch.uint8)
    assert np.array_equal(Runner(again)(pixels), Runner(model)(pixels))


def test_an_explanation_names_the_networks():
    model = Ensemble(members())
    pixels = torch.randint(0, 256, (2, 3, 40, 36), dtype=torch.uint8)
    found = explain(model, list(pixels), ["a", "b"])
    assert {name: bits for name, (_, bits) in found.parts.items()} == {
        "network1": 12, "network2": 7, "network3": 12,
    }  # fmt: skip
    packed = model.encode(Runner(model).transform(list(pixels)))
    split = part_distances(packed[:1], packed[1:], 31, model.bit_groups)
    assert found.distance == int(split.sum())


def test_attention_maps_are_those_of_all_networks_where_all_have_some():
    config = {"network": "semicon", "code_length": 12, "backbone": "micro", "parts": 2}
    pair = [models.build(config, seed=seed).eval() for seed in range(2)]
    out, x = Ensemble(pair)(images(2)), images(2)
    assert torch.equal(out.maps, torch.cat([network(x).maps for network in pair], 1))
    assert Ensemble([*pair, SmallHashNet(4, width=4)])(x).maps is None


def test_a_seed_draws_other_weights_for_each_network():
    config = {"network": "ensemble", "code_length": 24, "networks": [CONFIGS[0], CONFIGS[2]]}
    one, same = models.build(config, seed=3), models.build(config, seed=3)
    first, second = one.networks
    assert not torch.equal(first.hash.weight, second.hash.weight)
    for a, b in zip(one.parameters(), same.parameters(), strict=True):
        assert torch.equal(a, b)


def test_each_network_keeps_its_learning_rates_and_decays():
    made = [DSHNet(4), SmallHashNet(4, width=4)]
    wanted = [group for network in made for group in network.parameter_groups(0.1)]
    found = Ensemble(made).parameter_groups(0.1)
    assert [(g["lr_scale"], g["weight_decay"]) for g in found] == [
        (g["lr_scale"], g["weight_decay"]) for g in wanted
    ]
    listed = [id(p) for group in found for p in group["params"]]
    assert sorted(listed) == sorted(id(p) for network in made for p in network.parameters())


def test_other_preprocessing_is_refused():
    one, other, _ = members()
    other.preprocess = {**PREPROCESS, "size": 48}
    with pytest.raises(ValueError, match="same preprocessing, but network 1 has .* network 2 has"):
        Ensemble([one, other])


@pytest.mark.parametrize(
    "networks, options, error, message",
    [
        ([], {}, ValueError, "networks must have at least one network, got none"),
        ([torch.nn.Linear(1, 1)], {}, TypeError, "networks must be .*, got one of type Linear"),
        ([CONFIGS[0]], {"code_length": 24}, ValueError, "code_length must be 12, .* got 24"),
        ([{"network": "vgg"}], {}, ValueError, "network must be one of"),
    ],
)
def test_wrong_arguments_are_named(networks, options, error, message):
    with pytest.raises(error, match=message):
        Ensemble(networks, **options)
