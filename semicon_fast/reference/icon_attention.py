"""One step of the interactive channel transformation (paper Eq. 11, 12): channels as tokens.

The C channels form `num_heads` groups of d = C / num_heads tokens, each token a vector of
P = H W cells. A grouped 1x1 convolution gives q, k, v (d, P) for each head, and

    A = q k^T / sqrt(d),   r = sign(A) sqrt(|A| + delta),   attended = softmax(r) v.

The output channels are always transposed, (heads, d) -> (d, heads): token j of head h becomes
channel j * num_heads + h. So a second step with num_heads = d attends across the groups of the
first one, and transposes the order back.

Gradient, with p = softmax(r) and G the gradient of `attended`:

    dv = p^T G,  dr = p * (G v^T - rowsum(p * G v^T)),
    dA = dr / (2 sqrt(|A| + delta)), exactly 0 where A = 0,
    dq = dA k / sqrt(d),  dk = dA^T q / sqrt(d).

Products are computed in the dtype of the inputs, the signed square root and the softmax in float32
or wider (the derivative near A = 0 is up to 1 / (2 sqrt(delta)), 158 for delta = 1e-5).
"""

import math
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from .layout import memory_format_of


class IconStep(NamedTuple):
    """Weights and options of one step, the last arguments of ICON's operators in this order.

    `icon_attention` describes them.
    """

    weight: Tensor
    bias: Tensor | None
    num_heads: int
    delta: float
    stacked: bool
    residual_last: bool


def icon_attention(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    num_heads: int,
    delta: float,
    stacked: bool,
    residual_last: bool,
) -> Tensor:
    """One step of ICON: x (B, C, H, W) -> (B, C, H, W), with x's dtype and memory layout.

    Args:
        x: feature map.
        weight: (3 C, C / num_heads, 1, 1), of a 1x1 convolution in num_heads groups.
        bias: (3 C,) or None.
        num_heads: number of groups; channels attend to the channels of their group.
        delta: the constant under the root, >= 0.
        stacked: how the 3 C projected channels are split. False (the paper): (num_heads, 3, d), so
            that q, k, v of head h come from the channels of group h. True (the released code):
            (3, num_heads, d), so that q of head h comes from group h // 3, k from
            (h + num_heads) // 3 and v from (h + 2 num_heads) // 3.
        residual_last: whether x is added after the transposition, in x's channel order (True), or
            before it (False).
    """
    q, k, v = _project(x, weight, bias, num_heads, stacked)
    attended = _weights(_logits(q, k), delta).to(v.dtype) @ v
    if residual_last:
        out = _transposed(attended, x.shape) + x
    else:
        out = _transposed(attended + _heads(x, num_heads), x.shape)
    return out.contiguous(memory_format=memory_format_of(x))


def icon_attention_backward(grad: Tensor, x: Tensor, *step: Any) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of x, weight and bias (3 C,) for grad (B, C, H, W); the attention is recomputed.

    step: the fields of `IconStep`. The gradient of the bias is also returned if bias is None;
    callers ignore it.
    """
    weight, bias, num_heads, delta, stacked, residual_last = IconStep(*step)
    q, k, v = _project(x, weight, bias, num_heads, stacked)
    logits = _logits(q, k)
    p = _weights(logits, delta)
    # The output's channel order is (d, num_heads); this transposes it back.
    g = _heads(grad, x.shape[1] // num_heads).transpose(1, 2)
    d_v = p.to(v.dtype).transpose(-2, -1) @ g
    d_p = (g @ v.transpose(-2, -1)).to(p.dtype)
    d_root = p * (d_p - (p * d_p).sum(-1, keepdim=True))
    slope = torch.where(logits == 0, 0, 0.5 / _magnitude(logits, delta).sqrt())
    d_logits = (d_root * slope / math.sqrt(q.shape[-2])).to(q.dtype)
    d_qkv = torch.stack(
        (d_logits @ k, d_logits.transpose(-2, -1) @ q, d_v), dim=1 if stacked else 2
    )
    d_qkv = d_qkv.reshape(x.shape[0], weight.shape[0], *x.shape[2:])
    d_x, d_weight, d_bias = torch.ops.aten.convolution_backward(
        d_qkv, x, weight, [weight.shape[0]], [1, 1], [0, 0], [1, 1], False, [0, 0], num_heads,
        [True, True, True],
    )  # fmt: skip
    d_x = d_x + (grad if residual_last else g.reshape(x.shape))
    d_x = d_x.contiguous(memory_format=memory_format_of(x))
    return d_x, d_weight.contiguous(), d_bias


def _project(
    x: Tensor, weight: Tensor, bias: Tensor | None, num_heads: int, stacked: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """q, k, v, each (B, num_heads, d, P)."""
    qkv = F.conv2d(x, weight, bias, groups=num_heads)
    d, cells = x.shape[1] // num_heads, x.shape[2] * x.shape[3]
    if stacked:
        q, k, v = qkv.reshape(x.shape[0], 3, num_heads, d, cells).unbind(1)
    else:
        q, k, v = qkv.reshape(x.shape[0], num_heads, 3, d, cells).unbind(2)
    return q, k, v


def _logits(q: Tensor, k: Tensor) -> Tensor:
    dtype = torch.promote_types(q.dtype, torch.float32)
    return (q @ k.transpose(-2, -1)).to(dtype) / math.sqrt(q.shape[-2])


def _magnitude(logits: Tensor, delta: float) -> Tensor:
    # At A = 0 the sign is 0, so the value does not matter; 1 avoids a division by 0 if delta = 0.
    return torch.where(logits == 0, 1, logits.abs() + delta)


def _weights(logits: Tensor, delta: float) -> Tensor:
    return (logits.sign() * _magnitude(logits, delta).sqrt()).softmax(-1)


def _heads(x: Tensor, num_heads: int) -> Tensor:
    """(B, C, H, W) -> (B, num_heads, C / num_heads, H W)."""
    return x.reshape(x.shape[0], num_heads, x.shape[1] // num_heads, x.shape[2] * x.shape[3])


def _transposed(tokens: Tensor, shape: torch.Size) -> Tensor:
    """(B, heads, d, P) -> (B, d heads, H, W) of `shape`: channel j heads + h is token (h, j)."""
    return tokens.transpose(1, 2).reshape(shape)
