"""Convolutions whose weight gradient is a product: the same function, the same gradients."""

from contextlib import nullcontext

import pytest
import torch
from torch import nn

from semicon_fast.training import convolution
from semicon_fast.training.convolution import (
    pointwise_weight_gradient,
    weight_gradient,
    weight_gradients_by_products,
)

CPU = torch.device("cpu")


@pytest.fixture
def avx2(monkeypatch):
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX2")


def maps(*shape, seed=0):
    values = torch.randn(shape, generator=torch.Generator().manual_seed(seed))
    return values.contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("values", [1, 2000, 1 << 21])
@pytest.mark.parametrize("stride", [(1, 1), (2, 2), (2, 1)])
@pytest.mark.parametrize("size", [(7, 9), (1, 1), (2, 5)])
@pytest.mark.parametrize("kernel", [1, 3])
def test_gradients_are_those_of_the_convolution(kernel, size, stride, values, monkeypatch):
    monkeypatch.setattr(convolution, "BUFFER_VALUES", values)
    images = maps(5, 8, *size)
    conv = torch.nn.functional.conv2d
    weight = maps(6, 8, kernel, kernel, seed=1)
    grad = maps(*conv(images, weight, None, stride, kernel // 2).shape, seed=2)

    def exact(images, grad):
        real = weight.double().requires_grad_()
        conv(images.double(), real, None, stride, kernel // 2).backward(grad.double())
        return real.grad

    made = {1: pointwise_weight_gradient, 3: weight_gradient}[kernel]
    # A sum of n products in any order: n 2^-24 of the sum of their magnitudes (Higham, 3.1).
    terms = len(grad) * grad.shape[2] * grad.shape[3]
    bound = terms * 2**-24 * exact(images.abs(), grad.abs())
    error = (made(grad, images, stride) - exact(images, grad)).abs()
    assert error.shape == weight.shape and bool((error <= bound).all())


def network(**options):
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(4, 8, 3, padding=1, **options),
        nn.ReLU(),
        nn.Conv2d(8, 8, 3, 2, 1, bias=False),
        nn.Conv2d(8, 6, 1, 2, bias=False),
    ).to(memory_format=torch.channels_last)


def gradients(model, images, context):
    images = images.clone(memory_format=torch.preserve_format).requires_grad_()
    with context:
        out = model(images)
    out.square().mean().backward()
    return [out.detach(), images.grad, *(p.grad for p in model.parameters())]


def test_a_network_learns_the_same_inside_the_context(avx2):
    images = maps(3, 4, 12, 10)
    made = []
    with pytest.MonkeyPatch.context() as patch:
        for name in ("weight_gradient", "pointwise_weight_gradient"):
            original = getattr(convolution, name)
            patch.setattr(convolution, name, lambda *g, f=original: made.append(f) or f(*g))
        inside = gradients(network(bias=False), images, weight_gradients_by_products(CPU))
    outside = gradients(network(bias=False), images, nullcontext())
    assert made == [pointwise_weight_gradient, weight_gradient, weight_gradient]
    for one, other in zip(inside, outside, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("options", [{}, {"bias": False, "groups": 2}, {"padding_mode": "reflect"}])
def test_other_convolutions_are_left_as_they_are(options, avx2, monkeypatch):
    model, images = network(**options), maps(3, 4, 12, 10)
    wanted = gradients(network(**options), images, nullcontext())
    for p in model[2:].parameters():
        p.requires_grad_(False)
    monkeypatch.setattr(convolution, "weight_gradient", None)
    with weight_gradients_by_products(CPU), torch.no_grad():
        assert torch.equal(model(images), wanted[0])
    inside = gradients(model, images, weight_gradients_by_products(CPU))
    assert all(torch.equal(a, b) for a, b in zip(inside, wanted, strict=False) if a is not None)


def test_only_a_cpu_with_avx2_is_measured(monkeypatch):
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX512")
    assert isinstance(weight_gradients_by_products(CPU), nullcontext)
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX2")
    assert isinstance(weight_gradients_by_products(torch.device("cuda")), nullcontext)
