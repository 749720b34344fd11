"""ICON's step on the CPU: native kernels, or batched matrix products.

float32 uses the kernels of csrc/attention/ where they can be built and exist for the instruction
set. The rest of this file serves float64, other machines, and head sizes without a kernel. There
the grouped 1x1 convolution is computed as one matrix product per head, (3 d, d) by (d, images P).
A few images are processed at a time, so that their logits stay in cache between passes and the
buffers for projections and logits stay small: page faults on newly allocated memory would cost
more than the arithmetic.
"""

from typing import Any

import torch
from torch import Tensor

from .. import native, reference
from . import _cpu_mask  # noqa: F401  importing it registers its implementations
from ._library import override
from .icon_attention import _backward as _icon_backward
from .icon_attention import _forward as _icon_forward

# Logits held per thread: 256 KiB of float32, which fit the L2 cache together with their copies.
LOGITS_A_THREAD = 1 << 16
# Smallest number of multiply-adds per image for the batched products. With fewer, their calls cost
# more than the grouped convolution (AMD EPYC, 2 threads, batches of 16 and 64: equal at 4 to
# 8 x 10^5).
WORTH_A_LOOP = 1_000_000
# Tokens per head with a native kernel: kMinTokens to kMaxTokens of csrc/attention/attention.h.
NATIVE_TOKENS = range(8, 257)
# Smallest number of multiply-adds per call for a native kernel. Calls with fewer are fast anyway
# and return exactly the reference's values.
WORTH_A_KERNEL = 100_000


def _kernels(x: Tensor, num_heads: int) -> Any:
    """torch.ops.semicon_fast if native kernels can process x (built at first use), else None."""
    tokens = x.shape[1] // num_heads
    worth = 5 * x.numel() * tokens >= WORTH_A_KERNEL
    if len(x) and worth and x.dtype is torch.float32 and tokens in NATIVE_TOKENS:
        kernels = torch.ops.semicon_fast
        if native.load() and kernels._attention_available():
            return kernels
    return None


class _Step:
    """Sizes, weights and scratch memory of one call, used by both forward and backward."""

    def __init__(
        self,
        x: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        num_heads: int,
        delta: float,
        stacked: bool,
        backward: bool = False,
    ) -> None:
        self.heads, self.tokens = num_heads, x.shape[1] // num_heads
        self.cells, self.stacked = x.shape[2] * x.shape[3], stacked
        self.weight = weight.reshape(num_heads, 3 * self.tokens, self.tokens)
        self.bias = None if bias is None else bias.view(num_heads, -1, 1)
        self.delta = torch.tensor(delta, dtype=x.dtype)
        self.backward = backward
        few = LOGITS_A_THREAD * torch.get_num_threads() // (x.shape[1] * self.tokens)
        self.resize(min(max(few, 1), max(len(x), 1)))

    def resize(self, images: int) -> None:
        """Allocates scratch memory for `images` images, and the views that the products read."""
        empty, heads, tokens = self.weight.new_empty, self.heads, self.tokens
        self.images = images
        self.wide = empty(heads, tokens, images, self.cells)
        self.projected = empty(heads, 3 * tokens, images, self.cells)
        self.qkv = self.roles(self.projected)
        buffers = 5 if self.backward else 2
        self.logits = [empty(images * heads, tokens, tokens) for _ in range(buffers)]
        self.each = [buffer.split(heads) for buffer in self.logits]
        self.rows = empty(images * heads, tokens, self.cells)
        if self.backward:
            self.d_projected = torch.empty_like(self.projected)
            self.d_qkv = self.roles(self.d_projected)
            self.d_wide = empty(heads, tokens, images * self.cells)

    def roles(self, projected: Tensor) -> list[tuple[Tensor, ...]]:
        """projected (N, 3 d, images, P) -> for each image views q, k, v (N, d, P)."""
        if self.stacked:
            split = projected.view(3, self.heads, self.tokens, -1, self.cells)
        else:
            split = projected.view(self.heads, 3, self.tokens, -1, self.cells).transpose(0, 1)
        return [image.unbind(0) for image in split.unbind(3)]

    def by_group(self, maps: Tensor) -> Tensor:
        """(images, C, H, W) -> (images, N, d, P), a view."""
        return maps.view(-1, self.heads, self.tokens, self.cells)

    def by_place(self, maps: Tensor) -> Tensor:
        """(images, C, H, W) in the output's channel order -> (images, N, d, P), a view."""
        return maps.view(-1, self.tokens, self.heads, self.cells).transpose(1, 2)

    def project(self, maps: Tensor) -> Tensor:
        """Projects maps (images, C, H, W) into `qkv`; returns the maps as (N, d, images P)."""
        if len(maps) != self.images:
            self.resize(len(maps))
        wide = self.by_group(maps).permute(1, 2, 0, 3)
        # In channels_last this view is already dense.
        if self.images > 1 and wide.stride(1) != 1:
            wide = self.wide.copy_(wide)
        wide = wide.flatten(2)
        out = self.projected.flatten(2)
        if self.bias is None:
            torch.bmm(self.weight, wide, out=out)
        else:
            torch.baddbmm(self.bias, self.weight, wide, out=out)
        return wide

    def attend(self, a: int, sign: int, root: int) -> None:
        """Writes softmax(sign(A) sqrt(|A| + delta)) into buffer `a`, A being the logits.

        Buffer `sign` receives sign(A), buffer `root` sqrt(|A| + delta); `root` may equal `a`.
        """
        scale = self.tokens**-0.5
        for out, (q, k, _) in zip(self.each[a], self.qkv, strict=True):
            torch.baddbmm(out, q, k.transpose(1, 2), beta=0, alpha=scale, out=out)
        p, signs, roots = self.logits[a], self.logits[sign], self.logits[root]
        torch.sign(p, out=signs)
        # A sign(A) is |A|, in one pass with the addition; the sign keeps an exact 0 at 0.
        torch.addcmul(self.delta, p, signs, out=roots)
        roots.sqrt_()
        torch.mul(roots, signs, out=p)
        torch.softmax(p, -1, out=p)


def _takes(x: Tensor, num_heads: int) -> bool:
    """Whether batched products are faster than the reference.

    Not in half precision, for which PyTorch has fast convolutions.
    """
    work = 5 * x.shape[1] ** 2 // num_heads * x.shape[2] * x.shape[3]
    plain = x.dtype in (torch.float32, torch.float64)
    return plain and len(x) > 0 and work >= WORTH_A_LOOP


def icon_attention(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    num_heads: int,
    delta: float,
    stacked: bool,
    residual_last: bool,
) -> Tensor:
    """`reference.icon_attention` by native kernels or batched products where those are faster."""
    if kernels := _kernels(x, num_heads):
        x = x.contiguous(memory_format=reference.memory_format_of(x))
        weight = weight.contiguous()
        bias = None if bias is None else bias.contiguous()
        own: Tensor = kernels._icon_attention(
            x, weight, bias, num_heads, delta, stacked, residual_last
        )
        return own
    if not _takes(x, num_heads):
        return reference.icon_attention(x, weight, bias, num_heads, delta, stacked, residual_last)
    x = x.contiguous(memory_format=reference.memory_format_of(x))
    out = torch.empty_like(x)
    step = _Step(x, weight, bias, num_heads, delta, stacked)
    for maps, target in zip(x.split(step.images), out.split(step.images), strict=True):
        step.project(maps)
        step.attend(0, 1, 0)
        for y, p, (_, _, v) in zip(step.rows.split(num_heads), step.each[0], step.qkv, strict=True):
            torch.bmm(p, v, out=y)
        own = step.by_place(maps) if residual_last else step.by_group(maps)
        torch.add(step.rows.view(own.shape), own, out=step.by_place(target))
    return out


def icon_attention_backward(
    grad: Tensor,
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    num_heads: int,
    delta: float,
    stacked: bool,
    residual_last: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    """`reference.icon_attention_backward`; implementations as in `icon_attention`."""
    layout = reference.memory_format_of(x)
    x, grad = x.contiguous(memory_format=layout), grad.contiguous(memory_format=layout)
    if kernels := _kernels(x, num_heads):
        weight = weight.contiguous()
        bias = None if bias is None else bias.contiguous()
        grads: tuple[Tensor, Tensor, Tensor] = kernels._icon_attention_backward(
            grad, x, weight, bias, num_heads, delta, stacked, residual_last
        )
        return grads
    if not _takes(x, num_heads):
        return reference.icon_attention_backward(
            grad, x, weight, bias, num_heads, delta, stacked, residual_last
        )
    d_x = torch.empty_like(x)
    step = _Step(x, weight, bias, num_heads, delta, stacked, backward=True)
    d_weight = torch.zeros_like(step.weight)
    d_bias = d_weight.new_zeros(d_weight.shape[:2])
    for maps, d_out, target in zip(*(t.split(step.images) for t in (x, grad, d_x)), strict=True):
        wide = step.project(maps)
        step.attend(0, 1, 2)
        rows = step.by_place(d_out)
        rows = rows if rows.stride(-1) == 1 else rows.contiguous()
        _attention_gradient(step, rows)
        d_projected = step.d_projected.flatten(2)
        d_weight.baddbmm_(d_projected, wide.transpose(1, 2))
        d_bias.add_(d_projected.sum(2))
        torch.bmm(step.weight.transpose(1, 2), d_projected, out=step.d_wide)
        d_wide = step.d_wide.view(num_heads, step.tokens, -1, step.cells).permute(2, 0, 1, 3)
        own = step.by_group(d_out) if residual_last else rows
        torch.add(d_wide, own, out=step.by_group(target))
    return d_x, d_weight.view(weight.shape), d_bias.flatten()


def _attention_gradient(step: _Step, grad: Tensor) -> None:
    """Writes the gradients of q, k, v for grad (images, N, d, P) into `step.d_qkv`."""
    p, sign, root, d_p, d_root = step.logits
    for g, (_, _, v), out in zip(grad, step.qkv, step.each[3], strict=True):
        torch.bmm(g, v.transpose(1, 2), out=out)
    torch._softmax_backward_data(d_p, p, -1, p.dtype, grad_input=d_root)
    # The derivative is sign^2 / (2 root), exactly 0 where the logit is 0. With delta = 0 the root
    # is 0 there as well, so it is kept away from 0.
    if not step.delta:
        root.clamp_min_(torch.finfo(root.dtype).tiny)
    d_root.div_(root).mul_(sign).mul_(sign)
    scale = 0.5 * step.tokens**-0.5
    for g, weights, d_a, (q, k, _), (d_q, d_k, d_v) in zip(
        grad, step.each[0], step.each[4], step.qkv, step.d_qkv, strict=True
    ):
        _product(weights.transpose(1, 2), g, 1.0, d_v, step.rows[: step.heads])
        _product(d_a, k, scale, d_q, step.rows[: step.heads])
        _product(d_a.transpose(1, 2), q, scale, d_k, step.rows[: step.heads])


def _product(a: Tensor, b: Tensor, scale: float, out: Tensor, spare: Tensor) -> None:
    """out = scale a b; through `spare` if out is not dense, as batched products require."""
    target = out if out.is_contiguous() else spare
    torch.baddbmm(target, a, b, beta=0, alpha=scale, out=target)
    if target is spare:
        out.copy_(spare)


override(_icon_forward, "CPU", icon_attention)
override(_icon_backward, "CPU", icon_attention_backward)
