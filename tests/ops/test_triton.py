"""CUDA implementations on a machine without a device: registered, lazy, loud if they give way."""

import subprocess
import sys
import warnings

import pytest
import torch

from semicon_fast import native, ops, reference
from semicon_fast.ops import _triton

OPERATIONS = ["icon_attention", "icon_attention_backward", "sem_mask", "sem_mask_backward"]


@pytest.fixture(autouse=True)
def forgotten():
    """Each test starts without announcements made and reasons found before."""
    for cached in (_triton._announce, _triton._device_reason, _triton._kernels):
        cached.cache_clear()
    yield
    for cached in (_triton._announce, _triton._device_reason, _triton._kernels):
        cached.cache_clear()


@pytest.fixture
def given(monkeypatch):
    """x, weight, bias in float64, which the kernels do not take."""
    monkeypatch.delenv("SEMICON_FAST_BACKEND", raising=False)
    generator = torch.Generator().manual_seed(0)
    shapes = [(2, 6, 2, 3), (18, 3, 1, 1), (18,)]
    return [torch.randn(s, generator=generator, dtype=torch.float64) for s in shapes]


@pytest.mark.parametrize("name", OPERATIONS)
def test_the_kernels_serve_cuda(name):
    assert ops.backends()[name]["cuda"] == "native"


def test_importing_the_layers_does_not_import_the_kernels():
    code = (
        "import sys, semicon_fast.layers; "
        "assert not [m for m in sys.modules if m.startswith('semicon_fast.kernels')]"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_what_the_kernels_cannot_take_goes_to_the_reference_and_says_so_once(given):
    pytest.importorskip("triton")
    options = (2, 1e-5, False, True)
    with pytest.warns(RuntimeWarning, match=r"icon_attention on CUDA .* dtype torch.float64"):
        out = _triton.icon_attention(*given, *options)
    assert torch.equal(out, reference.icon_attention(*given, *options))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        grads = _triton.icon_attention_backward(out, *given, *options)
    expected = reference.icon_attention_backward(out, *given, *options)
    assert all(map(torch.equal, grads, expected))


def test_the_mask_gives_way_too(given):
    pytest.importorskip("triton")
    guidance, options = given[0], (0.3, False, True, False)
    with pytest.warns(RuntimeWarning, match="sem_mask on CUDA"):
        out = _triton.sem_mask(guidance, guidance[:, :1], *options)
    assert torch.equal(out, reference.sem_mask(guidance, guidance[:, :1], *options))
    grads = _triton.sem_mask_backward(out, guidance, guidance[:, :1], *options)
    expected = reference.sem_mask_backward(out, guidance, guidance[:, :1], *options)
    assert all(map(torch.equal, grads, expected))


def test_without_triton_the_reference_runs_and_says_why(given, monkeypatch):
    monkeypatch.setitem(sys.modules, "semicon_fast.kernels.icon_attention", None)
    x = given[0].float()
    with pytest.warns(RuntimeWarning, match="Triton cannot be imported"):
        out = _triton.sem_mask(x, x[:, :1], 0.3, False, False, False)
    assert torch.equal(out, reference.sem_mask(x, x[:, :1], 0.3, False, False, False))


def test_a_wish_for_native_kernels_makes_giving_way_an_error(given, monkeypatch):
    pytest.importorskip("triton")
    monkeypatch.setenv("SEMICON_FAST_BACKEND", "native")
    with pytest.raises(native.NativeBuildError, match="sem_mask has no kernel here: dtype"):
        _triton.sem_mask(given[0], given[0][:, :1], 0.3, False, False, False)


def test_a_wish_for_the_reference_is_silent(given, monkeypatch):
    monkeypatch.setenv("SEMICON_FAST_BACKEND", "reference")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        _triton.icon_attention(*given, 2, 1e-5, False, True)
