"""Computes the weight gradient of convolutions by matrix products, on a CPU with AVX2.

This gradient takes a third of SEMICON's training step. oneDNN's kernels reach 60 GFLOP/s for 3x3
and 85 for 1x1 weights; matrix products of channels-last maps reach 85 and 105, including the copies
(AMD EPYC Zen 3, 2 threads). CPUs with AVX-512 have other oneDNN kernels and were not measured;
there nothing is changed.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn.modules.utils import _pair
from torch.overrides import TorchFunctionMode

# Values of the im2col buffer: 8 MiB of float32.
BUFFER_VALUES = 1 << 21


def weight_gradients_by_products(device: torch.device) -> AbstractContextManager[Any]:
    """A context for the forward pass in which convolutions use this gradient, where it is faster.

    The backward pass may run outside of the context.
    """
    is_faster = device.type == "cpu" and torch.backends.cpu.get_cpu_capability() == "AVX2"
    return _WeightGradientMode() if is_faster else nullcontext()


class _WeightGradientMode(TorchFunctionMode):
    def __torch_function__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        if function is torch.conv2d:
            return _conv2d(*args, **kwargs)
        return function(*args, **kwargs)


def _conv2d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Tensor:
    fits = (
        tuple(weight.shape[2:]) in ((1, 1), (3, 3))
        and _pair(padding) == (weight.shape[2] // 2,) * 2
        and _pair(dilation) == (1, 1)
        and bias is None
        and groups == 1
        and input.is_contiguous(memory_format=torch.channels_last)
        and input.dtype == weight.dtype == torch.float32
        and weight.requires_grad
        and torch.is_grad_enabled()
    )
    if fits:
        result: Tensor = _ConvolutionFunction.apply(input, weight, _pair(stride))
        return result
    return F.conv2d(input, weight, bias, stride, padding, dilation, groups)


class _ConvolutionFunction(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, images: Tensor, weight: Tensor, stride: tuple[int, int]) -> Tensor:
        ctx.save_for_backward(images, weight)
        ctx.stride = stride
        ctx.border = weight.shape[2] // 2
        return F.conv2d(images, weight, None, stride, ctx.border)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor, None]:
        images, weight = ctx.saved_tensors
        grad = grad.contiguous(memory_format=torch.channels_last)
        d_images = None
        if ctx.needs_input_grad[0]:
            sizes = ctx.stride, (ctx.border,) * 2, (1, 1), False, (0, 0), 1
            d_images = torch.ops.aten.convolution_backward(
                grad, images, weight, None, *sizes, (True, False, False)
            )[0]
        make = pointwise_weight_gradient if ctx.border == 0 else weight_gradient
        return d_images, make(grad, images, ctx.stride), None


def pointwise_weight_gradient(grad: Tensor, images: Tensor, stride: tuple[int, int]) -> Tensor:
    """Weight gradient of a 1x1 convolution: grad (B, O, H', W'), images (B, C, H, W) ->
    (O, C, 1, 1). Both are channels-last."""
    seen = images[:, :, :: stride[0], :: stride[1]]
    cells = [maps.permute(0, 2, 3, 1).flatten(0, 2) for maps in (grad, seen)]
    return (cells[0].T @ cells[1])[:, :, None, None]


def weight_gradient(grad: Tensor, images: Tensor, stride: tuple[int, int]) -> Tensor:
    """Weight gradient of a 3x3 convolution with padding 1: grad (B, O, H', W'), images
    (B, C, H, W) -> (O, C, 3, 3). Both are channels-last."""
    channels, out_channels = images.shape[1], grad.shape[1]
    height, width = grad.shape[2:]
    padded = F.pad(images.permute(0, 2, 3, 1), (0, 0, 1, 1, 1, 1))
    rows = grad.permute(0, 2, 3, 1).reshape(len(grad), -1, out_channels)
    cells = height * width * 9 * channels
    images_at_once = min(max(1, BUFFER_VALUES // cells), len(images))
    scratch = padded.new_empty(images_at_once * cells)
    gradient = padded.new_zeros(out_channels, 9 * channels)
    image, row, column, _ = padded.stride()
    strides = image, stride[0] * row, stride[1] * column, row, column, 1
    for some, g in zip(padded.split(images_at_once), rows.split(images_at_once), strict=True):
        # im2col: the 3x3 neighbourhood of each output cell, contiguous.
        around = scratch[: len(some) * cells].view(-1, height, width, 3, 3, channels)
        around.copy_(some.as_strided(around.shape, strides))
        gradient.addmm_(g.flatten(0, 1).T, around.flatten(0, 2).flatten(1))
    return gradient.view(out_channels, 3, 3, channels).permute(0, 3, 1, 2)
