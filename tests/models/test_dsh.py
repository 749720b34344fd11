"""The DSH network: pooling that rounds up, its normalisation, its layers' learning rates."""

import math

import pytest
import torch

from semicon_fast.models import DSHNet, build
from semicon_fast.models.dsh import WithinChannelNorm


def images(count=2, size=32):
    return torch.randn(count, 3, size, size, generator=torch.Generator().manual_seed(0))


def test_pooling_rounds_up_to_four_by_four_cells():
    model = DSHNet(12)
    assert model.fc.in_features == 1024
    out = model(images())
    assert out.codes.shape == (2, 12) and out.features.shape == (2, 500)
    assert out.parts is None and out.maps is None
    assert out.features.min() == 0
    assert DSHNet(12, image_size=64).fc.in_features == 64 * 8 * 8


def test_codes_are_linear_in_the_features():
    model = DSHNet(12)
    out = model(images())
    torch.testing.assert_close(out.codes, model.hash(out.features))
    with torch.no_grad():
        model.hash.weight.mul_(1e4)
    assert model(images()).codes.abs().max() > 10


def test_normalisation_divides_by_the_local_energy_with_zero_padding():
    x = torch.randn(2, 3, 4, 5, generator=torch.Generator().manual_seed(0)).double() * 50
    padded = torch.nn.functional.pad(x, (1, 1, 1, 1))
    expected = torch.empty_like(x)
    for i in range(4):
        for j in range(5):
            energy = padded[:, :, i : i + 3, j : j + 3].square().sum((2, 3)) / 9
            expected[:, :, i, j] = x[:, :, i, j] / (1 + 5e-5 * energy) ** 0.75
    torch.testing.assert_close(WithinChannelNorm()(x), expected)


def test_initial_weights_are_uniform_by_fan_in_with_zero_biases():
    model = build({"network": "dsh", "code_length": 12}, seed=0)
    for layer, fan_in in ((model.conv1, 75), (model.conv2, 800), (model.fc, 1024)):
        bound = math.sqrt(3 / fan_in)
        assert 0.95 * bound < layer.weight.abs().max().item() <= bound
        assert not layer.bias.any()


def test_images_of_another_size_are_refused():
    with pytest.raises(ValueError, match=r"images must be 32 x 32, got \(48, 48\)"):
        DSHNet(12)(images(size=48))
    with pytest.raises(ValueError, match="image_size must be at least 8, got 4"):
        DSHNet(12, image_size=4)


def scales(model):
    """(learning-rate factor, weight decay) of each parameter by name."""
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    groups = model.parameter_groups(0.004)
    listed = {
        names[id(p)]: (group["lr_scale"], group["weight_decay"])
        for group in groups
        for p in group["params"]
    }
    assert sum(len(group["params"]) for group in groups) == len(listed) == len(names)
    return listed


def test_biases_learn_twice_as_fast_and_do_not_decay():
    listed = scales(DSHNet(12))
    for name, (scale, decay) in listed.items():
        assert (scale, decay) == ((2.0, 0.0) if name.endswith("bias") else (1.0, 0.004))


def test_a_longer_code_starts_from_the_shorter_network_with_a_fast_last_layer():
    short = build({"network": "dsh", "code_length": 12}, seed=1)
    short.preprocess = {"recipe": "plain"}
    longer = short.extend(48)
    assert longer.code_length == 48 and longer.preprocess == {"recipe": "plain"}
    assert torch.equal(longer(images()).features, short(images()).features)
    assert longer.fc.weight.data_ptr() != short.fc.weight.data_ptr()
    listed = scales(longer)
    assert listed["hash.weight"] == (10.0, 0.004) and listed["hash.bias"] == (20.0, 0.0)
    assert listed["fc.weight"] == (1.0, 0.004) and listed["conv1.bias"] == (2.0, 0.0)
    assert scales(build(longer.config())) == listed


def test_a_code_cannot_be_extended_to_fewer_bits():
    with pytest.raises(ValueError, match="must be greater than 12, got 12"):
        DSHNet(12).extend(12)


def pooled(x, reduce):
    """3x3 windows every 2 cells, as many as start inside; the last ones are cut at the border."""
    starts = range(0, x.shape[2] - 1, 2)
    rows = [[reduce(x[:, :, i : i + 3, j : j + 3]) for j in starts] for i in starts]
    return torch.stack([torch.stack(row, dim=-1) for row in rows], dim=-2)


def test_layers_follow_the_published_order():
    model = DSHNet(12)
    maximum, mean = (lambda w: w.amax((2, 3))), (lambda w: w.mean((2, 3)))
    x = model.norm1(pooled(model.conv1(images()), maximum).relu())
    assert x.shape == (2, 32, 16, 16)
    x = model.norm2(pooled(model.conv2(x), mean).relu())
    x = pooled(model.conv3(x).relu(), mean)
    assert x.shape == (2, 64, 4, 4)
    expected = model.fc(x.flatten(1)).relu()
    torch.testing.assert_close(model(images()).features, expected)


def test_the_relaxed_outputs_are_sigmoids_less_one_half():
    plain, relaxed = (build({"network": "dsh", "code_length": 12, **o}, seed=1) for o in OPTIONS)
    x = images(8)
    linear, out = plain(x), relaxed(x)
    torch.testing.assert_close(out.codes, linear.codes.sigmoid() - 0.5)
    assert torch.equal(out.features, linear.features)
    assert torch.equal(relaxed.encode(x), plain.encode(x))
    above = out.codes + 0.5 > 0.5
    assert torch.equal(above, linear.codes > 0)


OPTIONS = ({}, {"sigmoid": True})


def test_a_relaxed_output_keeps_its_sign_however_small_it_is():
    model = build({"network": "dsh", "code_length": 2, "sigmoid": True}, seed=1)
    with torch.no_grad():
        model.hash.weight.zero_()
        model.hash.bias.copy_(torch.tensor([-1e-12, 1e-12]))
    assert torch.equal(model(images(1)).codes.sign(), torch.tensor([[-1.0, 1.0]]))


def test_the_relaxation_is_kept_by_configuration_and_extension():
    model = DSHNet(12, sigmoid=True)
    assert build(model.config()).sigmoid and model.extend(24).sigmoid
    assert "sigmoid" not in DSHNet(12).config() and not DSHNet(12).extend(24).sigmoid
