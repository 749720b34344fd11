"""State dicts as other programs store them: nested, and with names under a prefix."""

import argparse

import pytest
import torch
import torchvision
from safetensors.torch import save_file

from semicon_fast.models import SEMICON, BackboneHash, build, load, load_released, save
from semicon_fast.models.state_dicts import misfit, read_tensors, without_prefix


@pytest.fixture(scope="module")
def donor():
    with torch.random.fork_rng():
        torch.random.manual_seed(0)
        return torchvision.models.resnet18(weights=None).state_dict()


def under(prefix, state):
    return {prefix + name: value for name, value in state.items()}


def ema(state):
    return {name: value + 1 for name, value in state.items()}


# What is stored of a state dict, and by whom.
LAYOUTS = {
    "DataParallel": lambda s: under("module.", s),
    "torch.compile": lambda s: under("_orig_mod.", s),
    "compiled DataParallel": lambda s: under("_orig_mod.module.", s),
    "DataParallel of a compiled one": lambda s: under("module._orig_mod.", s),
    "Lightning": lambda s: {
        "epoch": 3, "state_dict": under("model.", s), "optimizer_states": [{"lr": 0.1}],
    },
    "Lightning with a loss": lambda s: {
        "state_dict": {**under("net.backbone.", s), "loss.weight": torch.ones(3)},
    },
    "state_dict, as ImageNet's example": lambda s: {"arch": "r", "state_dict": under("module.", s)},
    "model, as torchvision's references": lambda s: {
        "model": s, "optimizer": {"state": {}}, "model_ema": ema(under("module.", s)),
    },
    "model_state_dict": lambda s: {"model_state_dict": s, "loss": 0.5},
    "net, as CIFAR's example": lambda s: {"net": under("module.", s), "acc": 90.5, "epoch": 1},
    "encoder of a contrastive method": lambda s: under("module.encoder_q.", s),
    "two levels": lambda s: {"model": {"module": s}, "args": None},
    "moving average alone": lambda s: {"model_ema": under("module.", s), "epoch": 1},
}  # fmt: skip


@pytest.mark.parametrize("layout", LAYOUTS)
def test_weights_are_read_from_every_layout(layout, donor, tmp_path):
    torch.save(LAYOUTS[layout](donor), tmp_path / "w.pth")
    model = BackboneHash(12, backbone="resnet18", weights=tmp_path / "w.pth")
    assert torch.equal(model.backbone.conv1.weight, donor["conv1.weight"])
    loaded = SEMICON(12, backbone="resnet18", weights=tmp_path / "w.pth").refine_global
    assert torch.equal(loaded.layer4[0].conv2.weight, donor["layer4.0.conv2.weight"])


def test_a_prefix_in_a_safetensors_file(donor, tmp_path):
    save_file(
        {n: v.contiguous() for n, v in under("module.", donor).items()}, tmp_path / "w.safetensors"
    )
    model = BackboneHash(12, backbone="resnet18", weights=tmp_path / "w.safetensors")
    assert torch.equal(model.backbone.conv1.weight, donor["conv1.weight"])


def released(bits=12):
    with torch.device("meta"):
        shapes = SEMICON(bits, variant="official").state_dict()
    return {
        name: (torch.tensor(i) if value.ndim == 0 else torch.tensor(i / 1000)).expand(value.shape)
        for i, (name, value) in enumerate(shapes.items())
    }


@pytest.mark.parametrize("layout", ["DataParallel", "compiled DataParallel", "Lightning"])
def test_released_checkpoints_are_read_from_every_layout(layout, tmp_path):
    state = released()
    torch.save(LAYOUTS[layout](state), tmp_path / "model.pth")
    loaded = load_released(tmp_path / "model.pth", 12).state_dict()
    assert list(loaded) == list(state)
    assert all(torch.equal(loaded[n], state[n]) for n in ("W_L3", "backbone.conv1.weight"))


def test_what_is_outside_the_prefix_of_a_checkpoint_is_named(tmp_path):
    state = under("module.", released()) | {"head.weight": torch.zeros(2)}
    torch.save(state, tmp_path / "model.pth")
    with pytest.raises(ValueError, match=r"do not fit network 'semicon': unexpected head\.weight"):
        load_released(tmp_path / "model.pth")


class Wrapper(torch.nn.Module):
    """As DistributedDataParallel and torch.compile hold a model."""

    def __init__(self, name, model):
        super().__init__()
        self.add_module(name, model)


@pytest.mark.parametrize("names", [["module"], ["_orig_mod"], ["module", "_orig_mod"]])
def test_a_wrapped_network_is_saved_as_the_one_inside(names, tmp_path):
    model = wrapped = build({"network": "small", "code_length": 12, "width": 4}, seed=0)
    for name in names:
        wrapped = Wrapper(name, wrapped)
    save(wrapped, tmp_path / "m.safetensors")
    again = load(tmp_path / "m.safetensors").state_dict()
    assert all(torch.equal(again[n], v) for n, v in model.state_dict().items())


@pytest.mark.slow
def test_a_compiled_network_is_saved_as_the_one_inside(tmp_path):
    model = build({"network": "small", "code_length": 12, "width": 4}, seed=0)
    save(torch.compile(model), tmp_path / "m.safetensors")
    assert list(load(tmp_path / "m.safetensors").state_dict()) == list(model.state_dict())


def test_other_networks_are_not_saved(tmp_path):
    with pytest.raises(TypeError, match="save: model must be a HashModel, got Linear"):
        save(torch.nn.Linear(1, 1), tmp_path / "other.safetensors")
    assert not (tmp_path / "other.safetensors").exists()


def test_a_network_that_is_there_twice_is_refused(donor, tmp_path):
    both = {**under("student.", donor), **under("teacher.", ema(donor))}
    torch.save(both, tmp_path / "w.pth")
    with pytest.raises(
        ValueError, match="has the network 2 times, under 'student.' and 'teacher.'"
    ):
        BackboneHash(12, backbone="resnet18", weights=tmp_path / "w.pth")
    torch.save({"student": donor, "teacher": donor}, tmp_path / "w.pth")
    with pytest.raises(ValueError, match="or have one as state_dict.* 2 entries: student, teacher"):
        BackboneHash(12, backbone="resnet18", weights=tmp_path / "w.pth")


def test_partial_and_foreign_weights_are_counted_and_named(donor, tmp_path):
    def refusal(state, backbone="resnet18"):
        torch.save(state, tmp_path / "w.pth")
        with pytest.raises(ValueError, match="do not fit the backbone") as caught:
            BackboneHash(12, backbone=backbone, weights=tmp_path / "w.pth")
        return str(caught.value)

    part = {n: v for n, v in under("module.", donor).items() if "layer2" not in n}
    wanted = [n for n in donor if "layer2" in n and "num_batches" not in n]
    said = refusal(part)
    assert f"no {wanted[0]}; no {wanted[1]}" in said
    assert f"and {len(wanted) - 4} more ({len(wanted)} missing)" in said
    said = refusal({f"vit.blocks.{i}.weight": torch.ones(2) for i in range(5)})
    assert "no conv1.weight" in said and "plain or under one prefix, only vit.blocks.0" in said
    wide = {n: torch.zeros(()).expand([2 * size for size in v.shape]) for n, v in donor.items()}
    said = refusal(wide)
    assert "conv1.weight is (128, 6, 14, 14) instead of (64, 3, 7, 7)" in said
    assert "of another shape)" in said


def test_objects_are_never_unpickled_also_beside_a_state_dict(donor, tmp_path):
    torch.save({"state_dict": donor, "args": argparse.Namespace(lr=1)}, tmp_path / "w.pth")
    with pytest.raises(ValueError, match="would have to be unpickled.* torch.save the state dict"):
        read_tensors(tmp_path / "w.pth")


def test_a_prefix_is_removed_only_where_it_is_the_best():
    one = torch.ones(1)
    wanted = ["a.weight", "b.weight", "b.num_batches_tracked"]
    plain = {"a.weight": one, "b.weight": one, "x.a.weight": one}
    assert without_prefix(plain, wanted, "file") == plain
    half = {"x.a.weight": one, "y.b.weight": one}
    assert without_prefix(half, wanted, "file") == half
    most = {"x.a.weight": one, "x.b.weight": one, "y.b.weight": one}
    assert list(without_prefix(most, wanted, "file")) == ["a.weight", "b.weight", "y.b.weight"]
    assert without_prefix({}, wanted, "file") == {}
    assert misfit({"a": one}, {"a": one}, strict=True) == ""
