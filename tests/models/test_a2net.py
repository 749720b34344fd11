"""A2-Net: size, the code and what its weights decode."""

import pytest
import torch

import semicon_fast as sf
from semicon_fast import models
from semicon_fast.methods import ExchNetObjective


def images(count=4, size=32, seed=0):
    return torch.randn(count, 3, size, size, generator=torch.Generator().manual_seed(seed))


def network(bits=24, **options):
    return models.build(
        {"network": "a2net", "code_length": bits, "backbone": "micro", **options}, seed=0
    )


@pytest.mark.parametrize("parts", [4, 48])
def test_it_is_exchnet_without_a_bias(parts):
    """Each map more is 64 weights and a BatchNorm of the attention, and 2048 features a bit."""
    with torch.device("meta"):
        model, exchnet = (kind(48, parts=parts) for kind in (sf.A2Net, sf.ExchNet))
    count, others = (sum(p.numel() for p in m.parameters()) for m in (model, exchnet))
    assert others - count == 48
    assert count == 40_435_848 + (parts - 4) * (64 + 2 + 2048 * 48)
    assert model.hash.weight.shape == (48, (parts + 1) * 2048) and model.hash.bias is None


def test_the_code_is_of_all_features_and_the_weights_decode_it_in_training():
    model, x = network(parts=3), images()
    out = model.train()(x)
    features = torch.cat([out.parts.flatten(1), out.features], 1)
    torch.testing.assert_close(out.codes, torch.tanh(features @ model.hash.weight.T))
    torch.testing.assert_close(out.decoded, out.codes @ model.hash.weight)
    assert out.decoded.shape == (4, 4 * 128) and out.part_maps is None
    out = model.eval()(x)
    assert out.decoded is None and out.maps.shape == (4, 3, 4, 4)


def test_features_in_the_row_space_of_orthonormal_weights_are_reconstructed():
    weights = torch.linalg.qr(torch.randn(40, 8, generator=torch.Generator().manual_seed(1)))[0].T
    inside = torch.randn(5, 8, generator=torch.Generator().manual_seed(2)) @ weights
    torch.testing.assert_close(inside @ weights.T @ weights, inside)
    model = network(8, parts=2)
    with torch.no_grad():
        # Outputs so small that tanh is the identity; c W decodes with c^2.
        start = torch.linalg.qr(torch.randn(384, 8, generator=torch.Generator().manual_seed(3)))[0]
        model.hash.weight.copy_(1e-3 * start.T)
    out = model.train()(images())
    features = torch.cat([out.parts.flatten(1), out.features], 1)
    inside = features @ start @ start.T
    torch.testing.assert_close(out.decoded / 1e-6, inside, rtol=1e-3, atol=1e-5)


def test_saved_and_loaded_it_encodes_the_same(tmp_path):
    model, x = network(20, parts=2).eval(), images()
    models.save(model, tmp_path / "model.safetensors")
    again = models.load(tmp_path / "model.safetensors", 20)
    assert type(again) is sf.A2Net and again.config() == model.config()
    assert torch.equal(again.encode(x), model.encode(x))
    assert model.bit_groups == {"global": slice(0, 20)}


def test_its_parts_are_not_exchanged():
    method = ExchNetObjective()
    method.begin(torch.arange(8) % 2, 24, torch.Generator())
    with pytest.raises(ValueError, match="set model.network=exchnet"):
        method.prepare(network(), 40, torch.arange(8))


def test_every_parameter_gets_a_finite_gradient():
    model = network().train()
    out = model(images())
    (out.codes.square().sum() + out.decoded.square().sum()).backward()
    for name, parameter in model.named_parameters():
        assert bool(torch.isfinite(parameter.grad).all()), name
