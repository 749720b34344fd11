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
from ..reference import IconStep
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


def _dense(step: IconStep) -> IconStep:
    """The step with contiguous weight and bias, as the kernels need them."""
    bias = None if step.bias is None else step.bias.contiguous()
    return step._replace(weight=step.weight.contiguous(), bias=bias)


class _Products:
    """Sizes, weights and scratch memory of one call, used by both forward and backward."""

    def __init__(self, x: Tensor, step: IconStep, backward: bool = False) -> None:
        self.heads, self.tokens = step.num_heads, x.shape[1] // step.num_heads
        self.cells, self.stacked = x.shape[2] * x.shape[3], step.stacked
        self.weight = step.weight.reshape(self.heads, 3 * self.tokens, self.tokens)
        self.bias = None if step.bias is None else step.bias.view(self.heads, -1, 1)
        self.delta = torch.tensor(step.delta, dtype=x.dtype)
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


def icon_attention(x: Tensor, *arguments: Any) -> Tensor:
    """`reference.icon_attention` by native kernels or batched products where those are faster."""
    step = IconStep(*arguments)
    if kernels := _kernels(x, step.num_heads):
        x = x.contiguous(memory_format=reference.memory_format_of(x))
        own: Tensor = kernels._icon_attention(x, *_dense(step))
        return own
    if not _takes(x, step.num_heads):
        return reference.icon_attention(x, *step)
    x = x.contiguous(memory_format=reference.memory_format_of(x))
    out = torch.empty_like(x)
    on = _Products(x, step)
    for maps, target in zip(x.split(on.images), out.split(on.images), strict=True):
        on.project(maps)
        on.attend(0, 1, 0)
        for y, p, (_, _, v) in zip(on.rows.split(on.heads), on.each[0], on.qkv, strict=True):
            torch.bmm(p, v, out=y)
        own = on.by_place(maps) if step.residual_last else on.by_group(maps)
        torch.add(on.rows.view(own.shape), own, out=on.by_place(target))
    return out


def icon_attention_backward(
    grad: Tensor, x: Tensor, *arguments: Any
) -> tuple[Tensor, Tensor, Tensor]:
    """`reference.icon_attention_backward`; implementations as in `icon_attention`."""
    step = IconStep(*arguments)
    layout = reference.memory_format_of(x)
    x, grad = x.contiguous(memory_format=layout), grad.contiguous(memory_format=layout)
    if kernels := _kernels(x, step.num_heads):
        grads: tuple[Tensor, Tensor, Tensor] = kernels._icon_attention_backward(
            grad, x, *_dense(step)
        )
        return grads
    if not _takes(x, step.num_heads):
        return reference.icon_attention_backward(grad, x, *step)
    d_x = torch.empty_like(x)
    on = _Products(x, step, backward=True)
    d_weight = torch.zeros_like(on.weight)
    d_bias = d_weight.new_zeros(d_weight.shape[:2])
    for maps, d_out, target in zip(*(t.split(on.images) for t in (x, grad, d_x)), strict=True):
        wide = on.project(maps)
        on.attend(0, 1, 2)
        rows = on.by_place(d_out)
        rows = rows if rows.stride(-1) == 1 else rows.contiguous()
        _attention_gradient(on, rows)
        d_projected = on.d_projected.flatten(2)
        d_weight.baddbmm_(d_projected, wide.transpose(1, 2))
        d_bias.add_(d_projected.sum(2))
        torch.bmm(on.weight.transpose(1, 2), d_projected, out=on.d_wide)
        d_wide = on.d_wide.view(on.heads, on.tokens, -1, on.cells).permute(2, 0, 1, 3)
        own = on.by_group(d_out) if step.residual_last else rows
        torch.add(d_wide, own, out=on.by_group(target))
    return d_x, d_weight.view(step.weight.shape), d_bias.flatten()


def _attention_gradient(step: _Products, grad: Tensor) -> None:
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
