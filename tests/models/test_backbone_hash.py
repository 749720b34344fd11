"""The plain backbone network: BatchNorm over the bits, and the backbone for 32 pixels."""

import pytest
import torch

from semicon_fast.models import build


def network(**options):
    return build({"network": "backbone", "code_length": 16, "backbone": "micro", **options}, seed=0)


def test_normalised_bits_are_plus_one_for_about_half_of_a_batch():
    images = torch.randn(64, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    codes = network(norm=True)(images).codes
    before = torch.atanh(codes)
    assert float(before.mean(0).abs().max()) < 1e-4
    assert torch.allclose(before.var(0, unbiased=False), torch.ones(16), atol=0.05)
    assert bool((codes.abs() < 1).all())


def test_a_single_image_is_trained_by_the_running_statistics():
    model = network(norm=True)
    model.eval()
    image = torch.randn(1, 3, 32, 32)
    features = model(image).features
    model.train()
    outputs = model._normalised(model.hash(features))
    kept = model.norm.eval()(model.hash(features)[:, :, None, None]).flatten(1)
    assert torch.allclose(outputs, kept)


def test_weights_of_the_last_layer_start_small_under_a_norm():
    assert float(network(norm=True).hash.weight.std()) == pytest.approx(0.01, rel=0.1)
    assert "norm" not in network().config() and network().norm is None


@pytest.mark.parametrize("norm", [False, True])
def test_without_tanh_codes_have_the_same_signs_and_the_config_says_so(norm):
    images = torch.randn(4, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    plain, bounded = network(norm=norm, tanh=False).eval(), network(norm=norm).eval()
    assert torch.equal(torch.tanh(plain(images).codes), bounded(images).codes)
    assert torch.equal(plain.encode(images), bounded.encode(images))
    assert plain.config()["tanh"] is False and "tanh" not in bounded.config()
    assert build(plain.config()).tanh is False


def test_the_backbone_for_32_pixels_keeps_them_in_its_first_stage():
    model = network(backbone="resnet10-32").eval()
    seen = []
    model.backbone.layer1.register_forward_hook(lambda *found: seen.append(found[2].shape[-2:]))
    output = model(torch.randn(2, 3, 32, 32))
    assert tuple(output.features.shape) == (2, 384) == (2, model.feature_size)
    assert seen == [(32, 32)]


@pytest.mark.parametrize(
    "config",
    [
        {"network": "small", "width": 4},
        {"network": "dsh"},
        {"network": "backbone", "backbone": "micro"},
        {"network": "semicon", "backbone": "micro"},
        {"network": "exchnet", "backbone": "micro"},
    ],
    ids=lambda c: c["network"],
)
def test_every_network_says_how_many_features_it_has(config):
    model = build({"code_length": 12, **config}, seed=0).eval()
    assert model(torch.randn(2, 3, 32, 32)).features.shape[1] == model.feature_size
