"""SEMICON: bits, sizes, batches, and what the variants change."""

import copy
import functools
import itertools

import pytest
import torch

from semicon_fast.models import SEMICON, BackboneHash, build, split_bits

TOTALS = {12: 42_393_670, 24: 42_418_246, 32: 42_434_630, 48: 42_467_398}


def images(count=4, size=32, seed=0):
    return torch.randn(count, 3, size, size, generator=torch.Generator().manual_seed(seed))


def tiny(bits=24, **options):
    """A small network in evaluation mode whose maps are alive and whose codes do not saturate."""
    return copy.deepcopy(_tiny(bits, tuple(options.items())))


@functools.cache
def _tiny(bits, options):
    config = {"network": "semicon", "code_length": bits, "backbone": "tiny", **dict(options)}
    model = build(config, seed=0)
    for i in range(model.parts):
        model.attention.get_submodule(f"feature{i + 1}")[1].bias.data.fill_(0.5)
    # One pass in training mode, so that the BatchNorm statistics are those of such images.
    norms = [m for m in model.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    for norm in norms:
        norm.momentum = None
    with torch.no_grad():
        model.train()(images(8, seed=9))
    for norm in norms:
        norm.num_batches_tracked.zero_()
        norm.momentum = 0.1
    return model.eval()


@pytest.mark.parametrize(
    ("bits", "split"),
    [(12, [6, 2, 2, 2]), (24, [12, 4, 4, 4]), (32, [17, 5, 5, 5]), (48, [24, 8, 8, 8]),
     (16, [10, 2, 2, 2]), (64, [34, 10, 10, 10]), (6, [3, 1, 1, 1])],
)  # fmt: skip
def test_published_bit_splits(bits, split):
    assert split_bits(bits, 3) == split


@pytest.mark.parametrize("parts", range(1, 9))
def test_every_split_adds_up_with_equal_parts_and_at_least_half_global(parts):
    for bits in range(2 * parts, 300):
        first, *local = split_bits(bits, parts)
        assert first + sum(local) == bits
        assert len(local) == parts and len(set(local)) == 1 and local[0] >= 1
        assert first >= bits / 2


@pytest.mark.parametrize("bits", [0, 1, 5])
def test_a_code_with_less_than_a_bit_a_part_is_refused(bits):
    message = "must be at least 1" if bits == 0 else r"code_length must be at least 2\*parts = 6"
    with pytest.raises(ValueError, match=message):
        SEMICON(bits, backbone="tiny")


@pytest.mark.parametrize("variant", ["paper", "official"])
@pytest.mark.parametrize("bits", TOTALS)
def test_parameters_and_entries_are_those_of_the_released_network(bits, variant):
    with torch.device("meta"):
        model = SEMICON(bits, variant=variant)
    assert sum(p.numel() for p in model.parameters()) == TOTALS[bits]
    state = model.state_dict()
    assert len(state) == 502
    counts = [
        sum(name.startswith(prefix) for name in state)
        for prefix in ("backbone.", "refine_global.layer4.", "refine_local.layer4.", "attention.")
    ]
    assert counts == [258, 78, 78, 84]
    assert [state[n].shape[0] for n in ("W_G", "W_L1", "W_L2", "W_L3")] == split_bits(bits, 3)
    assert state["refine_local.layer4.4.qkv2.weight"].shape == (6144, 32, 1, 1)
    assert state["refine_global.layer4.2.qkv.weight"].shape == (6144, 64, 1, 1)
    assert "refine_global.layer4.3.conv3.weight" in state
    assert "refine_global.layer4.1.qkv.weight" not in state


def test_trunk_and_stage_have_the_documented_sizes():
    with torch.device("meta"):
        model = SEMICON(48)
    assert sum(p.numel() for p in model.backbone.parameters()) == 8_543_296
    for stage in (model.refine_global, model.refine_local):
        assert sum(p.numel() for p in stage.parameters()) == 16_177_152


@pytest.mark.parametrize("size", [32, 33, 50, 64])
@pytest.mark.parametrize("parts", [1, 4])
def test_output_shapes_for_any_image_size(size, parts):
    out = tiny(parts=parts)(images(2, size))
    cells = -(-size // 8)
    assert out.codes.shape == (2, 24) and out.features.shape == (2, 256)
    assert out.parts.shape == (2, parts, 256) and out.maps.shape == (2, parts, cells, cells)
    assert out.codes.abs().max() < 1


@pytest.mark.parametrize("backbone", ["resnet18", pytest.param("resnet34", marks=pytest.mark.slow)])
def test_basic_block_backbones(backbone):
    model = build({"network": "semicon", "code_length": 12, "backbone": backbone}, seed=0).eval()
    out = model(images(1, 64))
    assert out.parts.shape == (1, 3, 512) and out.maps.shape == (1, 3, 4, 4)
    slots = {"resnet18": "0 1 2 3", "resnet34": "0 1 2 3 4"}[backbone].split()
    assert [name for name, _ in model.refine_local.layer4.named_children()] == slots


def test_codes_are_tanh_of_each_branch_in_order():
    model = tiny()
    out = model(images())
    weights = [model.W_G, model.W_L1, model.W_L2, model.W_L3]
    branches = [out.features, *out.parts.unbind(1)]
    for group, weight, feature in zip(model.bit_groups.values(), weights, branches, strict=True):
        torch.testing.assert_close(out.codes[:, group], torch.tanh(feature @ weight.T))
    assert list(model.bit_groups) == ["global", "part1", "part2", "part3"]


def test_local_features_come_from_the_map_times_the_trunk():
    model = tiny()
    x = images()
    trunk = model.backbone(x)
    out = model(x)
    for part in range(3):
        refined = model.refine_local(out.maps[:, part : part + 1] * trunk).mean((2, 3))
        torch.testing.assert_close(out.parts[:, part], refined)
    torch.testing.assert_close(out.features, model.refine_global(trunk).mean((2, 3)))


def test_statistics_of_the_local_branch_move_once_a_part():
    model = tiny(parts=3).train()
    model(images())
    assert model.refine_local.layer4[0].bn1.num_batches_tracked == 3
    assert model.refine_global.layer4[0].bn1.num_batches_tracked == 1


VARIED = [{}, {"attention": "erase"}, {"icon": "none"}]


@functools.cache
def encoded_whole(options):
    return tiny(48, **dict(options)).encode(images(8))


@pytest.mark.parametrize(
    ("options", "batch_size"),
    [
        # 3 leaves a rest.
        pytest.param(o, size, marks=[] if size == 3 or (o, size) == ({}, 1) else pytest.mark.slow)
        for o, size in itertools.product(VARIED, [1, 2, 3, 5, 8])
    ],
)
def test_codes_do_not_depend_on_the_batch_in_the_paper_variant(options, batch_size):
    model, x = tiny(48, **options), images(8)
    assert torch.equal(model.encode(x, batch_size), encoded_whole(tuple(options.items())))


def test_batch_mates_change_only_the_later_parts_in_the_official_variant():
    model = tiny(variant="official", alpha=0.9)
    x = images(5)
    with torch.no_grad():
        together, alone = model(x).codes[2], model(x[2:3]).codes[0]
    moved = {
        name: not torch.allclose(together[group], alone[group], rtol=1e-4, atol=1e-5)
        for name, group in model.bit_groups.items()
    }
    assert moved == {"global": False, "part1": False, "part2": True, "part3": True}


def test_variants_share_their_parameters_and_differ_in_their_codes():
    paper, official = tiny(), tiny(variant="official")
    official.load_state_dict(paper.state_dict())
    assert not torch.allclose(paper(images()).codes, official(images()).codes, atol=1e-4)


@pytest.mark.parametrize(("icon", "entries"), [("none", 0), ("one-step", 2), ("two-step", 9)])
def test_icon_can_be_left_out_without_renaming_the_blocks(icon, entries):
    full, model = tiny(), tiny(icon=icon)
    extra = set(full.state_dict()) - set(model.state_dict())
    assert not set(model.state_dict()) - set(full.state_dict())
    assert len(extra) == 4 * (9 - entries)
    assert all(".layer4.1." in name or ".layer4.3." in name for name in extra)


def test_every_parameter_gets_a_finite_gradient():
    model = tiny().train()
    model(images()).codes.square().sum().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert bool(torch.isfinite(parameter.grad).all()), name


def test_not_finite_weights_refuse_to_encode():
    model = tiny()
    with torch.no_grad():
        model.refine_local.layer4[0].conv1.weight[0, 0, 0, 0] = float("nan")
    with pytest.raises(ValueError, match="outputs are not finite"):
        model.encode(images())


@pytest.mark.slow  # test_whole_network.py compiles one by default, with its gradients
def test_compiled_whole_equals_eager():
    model = tiny(12, parts=2)
    compiled = torch.compile(model, backend="aot_eager", fullgraph=True)
    with torch.no_grad():
        for ours, eager in zip(compiled(images()), model(images()), strict=True):
            torch.testing.assert_close(ours, eager)


def test_autocast_gives_finite_codes_and_gradients():
    model = tiny().train()
    with torch.autocast("cpu", torch.bfloat16):
        out = model(images())
    assert out.codes.dtype is torch.bfloat16
    out.codes.float().square().sum().backward()
    assert all(bool(torch.isfinite(p.grad).all()) for p in model.parameters())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"parts": 0}, "parts must be from 1 to 8, got 0"),
        ({"parts": 9}, "parts must be from 1 to 8, got 9"),
        ({"variant": "fast"}, "variant must be one of paper, official, got 'fast'"),
        ({"icon": "three-step"}, "icon must be one of two-step, one-step, none"),
        ({"attention": "soft"}, "attention must be one of sem, erase, none"),
        ({"backbone": "vit"}, "backbone must be one of resnet18"),
    ],
)
def test_wrong_options_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        SEMICON(48, **{"backbone": "tiny", **options})


def test_vanilla_network_is_a_backbone_with_a_hash_layer():
    model = build({"network": "backbone", "code_length": 12, "backbone": "tiny"}, seed=0).eval()
    out = model(images())
    torch.testing.assert_close(out.codes, torch.tanh(model.hash(out.features)))
    assert out.features.shape == (4, 256) and out.parts is None
    with torch.device("meta"):
        full = BackboneHash(48)
    # torchvision's ResNet-50 without its classifier, plus the hash layer and its bias.
    assert sum(p.numel() for p in full.parameters()) == 23_508_032 + 48 * 2049
