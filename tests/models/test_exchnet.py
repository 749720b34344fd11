"""ExchNet: size, the wiring of its branches, the exchange, and what other tools see of it."""

import copy
import functools

import pytest
import torch

import semicon_fast as sf
from semicon_fast import models
from semicon_fast.report import explain
from semicon_fast.search.bit_groups import bit_positions

PREPROCESS = {"recipe": "small", "size": 32, "mean": [0.5] * 3, "std": [0.25] * 3}


def images(count=4, size=32, seed=0):
    return torch.randn(count, 3, size, size, generator=torch.Generator().manual_seed(seed))


def network(bits=24, **options):
    """A small network in evaluation mode with statistics of such images and live maps."""
    return copy.deepcopy(_network(bits, tuple(options.items())))


@functools.cache
def _network(bits, options):
    config = {"network": "exchnet", "code_length": bits, "backbone": "micro", **dict(options)}
    model = models.build(config, seed=0)
    with torch.no_grad():
        for i in range(model.parts):
            model.attention.get_submodule(f"feature{i + 1}")[1].bias.fill_(0.5)
        for _ in range(20):
            model.train()(images(8, seed=9))
    return model.eval()


def test_it_has_the_published_number_of_parameters():
    with torch.device("meta"):
        model = sf.ExchNet(48)
    sizes = {name: sum(p.numel() for p in part.parameters()) for name, part in (
        ("trunk", model.backbone), ("global", model.refine_global), ("local", model.refine_local),
        ("attention", model.attention), ("head", model.hash),
    )}  # fmt: skip
    assert sizes == {
        "trunk": 8_543_296, "global": 14_964_736, "local": 14_964_736, "attention": 1_471_560,
        "head": 10_241 * 48,
    }  # fmt: skip
    assert sum(sizes.values()) == sum(p.numel() for p in model.parameters()) == 40_435_896


@pytest.mark.parametrize("backbone, width", [("micro", 128), ("tiny", 256), ("resnet18", 512)])
@pytest.mark.parametrize("size", [33, 64])
def test_output_shapes_for_any_image_size(backbone, width, size):
    out = sf.ExchNet(12, parts=3, backbone=backbone).eval()(images(2, size))
    cells = -(-size // (16 if backbone == "resnet18" else 8))
    smaller = -(-cells // 2)
    assert out.codes.shape == (2, 12) and out.codes.abs().max() <= 1
    assert out.features.shape == (2, width) and out.parts.shape == (2, 3, width)
    assert out.maps.shape == (2, 3, cells, cells) and out.maps.min() >= 0
    assert out.part_maps.shape == (2, 3, smaller, smaller)


@pytest.mark.parametrize("training", [False, True])
def test_all_parts_pass_as_one_batch_through_one_stage(training):
    """In training too, where BatchNorm's statistics are those of all parts together."""
    model, x = network().train(training), images()
    trunk = model.backbone(x)
    out = model(x)
    crops = (out.maps.unsqueeze(2) * trunk.unsqueeze(1)).flatten(0, 1)
    refined = model.refine_local(crops).unflatten(0, (4, 4))
    torch.testing.assert_close(out.parts, refined.mean((3, 4)), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(out.part_maps, refined.mean(2), rtol=1e-4, atol=1e-5)
    whole = torch.cat([out.parts.flatten(1), out.features], 1)
    torch.testing.assert_close(out.codes, torch.tanh(model.hash(whole)))


def test_replaced_parts_are_the_anchors_and_give_them_no_say_in_evaluation():
    model, x = network(), images()
    anchors = torch.randn(4, 4, 128, generator=torch.Generator().manual_seed(1))
    replaced = torch.rand(4, 4, generator=torch.Generator().manual_seed(2)) < 0.5
    plain = model(x)
    given = model(x, anchors, replaced)
    pairs = zip(plain, given, strict=True)
    assert all(a is b is None or torch.equal(a, b) for a, b in pairs)
    out = model.train()(x, anchors=anchors, replaced=replaced)
    mixed = torch.where(replaced[..., None], anchors, out.parts)
    whole = torch.cat([mixed.flatten(1), out.features], 1)
    torch.testing.assert_close(out.codes, torch.tanh(model.hash(whole)))
    assert not torch.equal(out.parts, mixed)
    out.parts.retain_grad()
    (gradient,) = torch.autograd.grad(out.codes.sum(), out.parts)
    assert not gradient[replaced].any() and gradient[~replaced].any()


def test_no_part_or_every_part_replaced():
    model, x = network(), images()
    anchors = torch.zeros(4, 4, 128)
    none, every = torch.zeros(4, 4).bool(), torch.ones(4, 4).bool()
    outs = [model.train()(x, anchors, replaced).codes for replaced in (none, every)]
    torch.testing.assert_close(outs[0], model(x).codes)
    without = torch.cat([torch.zeros(4, 512), model(x).features], 1)
    torch.testing.assert_close(outs[1], torch.tanh(model.hash(without)))


def test_training_without_exchange_is_evaluation_but_for_batch_norm():
    model, x = network(), images()
    wanted = model(x).codes
    model.train()
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.eval()
    torch.testing.assert_close(model(x).codes, wanted, rtol=1e-4, atol=1e-5)


def test_a_code_is_one_whole():
    model = network(24)
    assert model.bit_groups == {"global": slice(0, 24)}
    assert bit_positions(model.bit_groups, 24, all_bits=True) == {"global": range(24)}
    model.preprocess = PREPROCESS
    pixels = torch.randint(0, 256, (2, 3, 40, 36), dtype=torch.uint8)
    found = explain(model, list(pixels), ["a", "b"])
    assert list(found.parts) == ["global"] and found.look.maps.shape == (2, 4, 4, 4)
    assert found.distance == found.parts["global"][0]
    headings = [axis.get_title() for figure in found.picture().subfigs for axis in figure.axes]
    assert {"M1", "M4"} <= set(headings)


def test_saved_and_loaded_it_encodes_the_same(tmp_path):
    model, x = network(20, parts=2), images()
    models.save(model, tmp_path / "model.safetensors")
    again = models.load(tmp_path / "model.safetensors", 20)
    assert again.config() == model.config() and again.part_shape == (2, 128)
    assert torch.equal(again.encode(x), model.encode(x))
    assert torch.equal(model.encode(x, 1), model.encode(x))


def test_every_parameter_gets_a_finite_gradient():
    model = network().train()
    model(images()).codes.square().sum().backward()
    for name, parameter in model.named_parameters():
        assert bool(torch.isfinite(parameter.grad).all()), name


def test_imagenet_weights_are_the_start_of_both_stages(tmp_path):
    donor = models.build({"network": "backbone", "code_length": 8, "backbone": "micro"}, seed=1)
    state = {n: v for n, v in donor.backbone.state_dict().items()}
    slots = [f"layer4.{name}" for name, _ in donor.refine.layer4.named_children()]
    for block, slot in enumerate(slots):
        inner = donor.refine.get_submodule(slot).state_dict()
        state |= {f"layer4.{block}.{n}": v for n, v in inner.items()}
    torch.save(state, tmp_path / "micro.pth")
    model = sf.ExchNet(8, backbone="micro", weights=tmp_path / "micro.pth")
    for stage in (model.refine_global, model.refine_local):
        for name, value in donor.refine.state_dict().items():
            assert torch.equal(stage.state_dict()[name], value), name
    assert torch.equal(model.backbone.conv1.weight, donor.backbone.conv1.weight)


@pytest.mark.parametrize(
    "options, message",
    [
        ({"code_length": 1}, "code_length must be at least 2, got 1"),
        ({"code_length": 0}, "code_length must be at least 1, got 0"),
        ({"parts": 1}, "parts must be an int of at least 2, got 1"),
        ({"parts": 2.5}, "parts must be an int of at least 2, got 2.5"),
        ({"backbone": "vgg"}, "backbone must be one of resnet18"),
    ],
)
def test_wrong_options_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        sf.ExchNet(**{"code_length": 12, "backbone": "micro", **options})
