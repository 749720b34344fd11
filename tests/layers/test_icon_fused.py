"""ICON with BatchNorm inside its kernels' operations: what the modules would have given."""

import copy

import pytest
import torch
from torch import nn

from semicon_fast import ops
from semicon_fast.layers import ICON

LAYOUTS = [torch.contiguous_format, torch.channels_last]


def scrambled(icon, seed=0):
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for value in icon.state_dict().values():
            if value.is_floating_point():
                value.copy_(torch.rand(value.shape, generator=generator) - 0.3)
        if icon.norm.running_var is not None:
            icon.norm.running_var.abs_().add_(0.1)
    return icon


def features(size=(2, 24, 3, 5), layout=torch.contiguous_format, dtype=torch.float64):
    x = torch.rand(size, generator=torch.Generator().manual_seed(1), dtype=dtype) + 0.5
    return x.to(memory_format=layout).requires_grad_()


def both(monkeypatch, icon, run):
    """Results of `run` on two copies: modules called, and fused as on a device with kernels."""
    results = []
    for fused in (False, True):
        own = copy.deepcopy(icon)
        monkeypatch.setattr(ops, "loads_norm", lambda *_, fused=fused: fused)
        results.append((*run(own), *own.state_dict().values()))
    return results


def forward_and_backward(x):
    def run(icon):
        out = icon(x)
        return out.detach(), *torch.autograd.grad(out.square().sum(), [x, *icon.parameters()])

    return run


def assert_same(results):
    for plain, fused in zip(*results, strict=True):
        assert plain.dtype is fused.dtype
        torch.testing.assert_close(fused, plain)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("train", [False, True])
@pytest.mark.parametrize("variant", ["paper", "official"])
def test_values_gradients_and_statistics_are_batch_norms(monkeypatch, variant, train, layout):
    icon = scrambled(ICON(24, 6, variant=variant).double()).train(train)
    assert_same(both(monkeypatch, icon, forward_and_backward(features(layout=layout))))


@pytest.mark.parametrize("train", [False, True])
@pytest.mark.parametrize(
    "options",
    [{"momentum": 0.4}, {"momentum": 0.0}, {"eps": 0.1}, {"track_running_stats": False}],
)
def test_every_kind_of_batch_norm(monkeypatch, options, train):
    icon = ICON(24, 6)
    icon.norm = nn.BatchNorm2d(24, **options)
    icon = scrambled(icon.double()).train(train)
    assert_same(both(monkeypatch, icon, forward_and_backward(features())))


def test_statistics_that_are_not_tracked_any_more_stay(monkeypatch):
    icon = scrambled(ICON(24, 6).double())
    icon.norm.track_running_stats = False
    before = copy.deepcopy(icon.norm.state_dict())
    assert_same(both(monkeypatch, icon, forward_and_backward(features())))
    monkeypatch.setattr(ops, "loads_norm", lambda *_: True)
    icon(features())
    assert all(map(torch.equal, icon.norm.state_dict().values(), before.values()))


def test_batches_are_counted(monkeypatch):
    monkeypatch.setattr(ops, "loads_norm", lambda *_: True)
    icon = ICON(24, 6)
    x = features(dtype=torch.float32)
    for _ in range(3):
        icon(x)
    icon.eval()(x)
    assert icon.norm.num_batches_tracked == 3


def test_a_frozen_norm_keeps_its_statistics_and_learns_scale_and_shift(monkeypatch):
    icon = scrambled(ICON(24, 6).double())
    icon.norm.eval()
    assert_same(both(monkeypatch, icon, forward_and_backward(features())))


def test_autocast_gives_what_the_modules_give(monkeypatch):
    def run(icon):
        with torch.autocast("cpu", torch.bfloat16):
            return (icon(features(dtype=torch.float32)).detach(),)

    icon = scrambled(ICON(24, 6, variant="official")).eval()
    assert_same(both(monkeypatch, icon, run))
    plain, fused = both(monkeypatch, icon.train(), run)
    torch.testing.assert_close(fused[0], plain[0], rtol=0.05, atol=0.05)


def test_compiled_with_its_statistics(monkeypatch):
    monkeypatch.setattr(ops, "loads_norm", lambda *_: True)
    icon = scrambled(ICON(24, 6))
    results = []
    for own in (icon, copy.deepcopy(icon)):
        run = torch.compile(own, backend="aot_eager", fullgraph=True) if results else own
        out = run(features(dtype=torch.float32))
        grads = torch.autograd.grad(out.square().sum(), list(own.parameters()))
        results.append((out.detach(), *grads, *own.state_dict().values()))
    assert_same(results)


def unaffine(icon):
    icon.norm = nn.BatchNorm2d(24, affine=False)


def cumulative(icon):
    icon.norm.momentum = None


def synchronised(icon):
    icon.norm = nn.SyncBatchNorm(24)


def grouped(icon):
    icon.norm = nn.GroupNorm(3, 24)


def hooked(icon):
    icon.norm.register_forward_hook(lambda module, given, out: out + 1)


def patched(icon):
    icon.norm.forward = lambda x: x - 1


@pytest.mark.parametrize("change", [unaffine, cumulative, synchronised, grouped, hooked, patched])
def test_another_norm_is_called_as_a_module(monkeypatch, change):
    def refuse(*_, **__):
        raise AssertionError("fused")

    monkeypatch.setattr(ops, "loads_norm", lambda *_: True)
    monkeypatch.setattr(ops, "icon_attention_normed", refuse)
    icon = ICON(24, 6)
    with pytest.raises(AssertionError, match="fused"):
        icon(features(dtype=torch.float32))
    change(icon)
    x = features(dtype=torch.float32)
    y = ops.icon_attention(x, icon.qkv.weight, icon.qkv.bias, 6)
    if change is synchronised:
        icon.eval()
    z = copy.deepcopy(icon.norm)(y).relu()
    expected = ops.icon_attention(z, icon.qkv2.weight, icon.qkv2.bias, 4)
    assert torch.equal(icon(x), expected)


@pytest.mark.parametrize("fused", [False, True])
def test_a_single_value_a_channel_is_refused_in_training(monkeypatch, fused):
    monkeypatch.setattr(ops, "loads_norm", lambda *_: fused)
    icon = ICON(24, 6)
    with pytest.raises(ValueError, match="more than 1 value per channel"):
        icon(features((1, 24, 1, 1), dtype=torch.float32))
    assert icon.norm.num_batches_tracked == 1
    assert icon.eval()(features((1, 24, 1, 1), dtype=torch.float32)).isfinite().all()


def test_whoever_holds_the_normalised_map_sees_it_unrectified():
    icon, seen = ICON(24, 6), []
    icon.norm.register_forward_hook(lambda module, given, out: seen.append(out))
    icon(features(dtype=torch.float32))
    assert bool((seen[0] < 0).any())


def test_the_processor_takes_the_modules():
    assert not ops.loads_norm(features(), 6)
