"""Channel attention, checked head by head, by its permutation and by who may influence whom."""

import math

import pytest
import torch
import torch.nn.functional as F

from semicon_fast import reference
from semicon_fast.reference.icon_attention import _project, _weights

LAYOUTS = [(stacked, last) for stacked in (False, True) for last in (False, True)]


def arguments(batch=2, heads=4, tokens=3, size=(3, 5), dtype=torch.float64, seed=0):
    generator = torch.Generator().manual_seed(seed)
    channels = heads * tokens

    def draw(*shape):
        return torch.randn(*shape, generator=generator, dtype=dtype)

    return draw(batch, channels, *size), draw(3 * channels, tokens, 1, 1), draw(3 * channels)


def by_hand(x, weight, bias, heads, delta, stacked, residual_last):
    """One image, head, query and output channel at a time."""
    channels = x.shape[1]
    tokens = channels // heads
    projected = F.conv2d(x, weight, bias, groups=heads).flatten(2)
    out = torch.zeros_like(x).flatten(2)
    for image in range(len(x)):
        for head in range(heads):
            slots = [s * heads + head if stacked else 3 * head + s for s in range(3)]
            q, k, v = (projected[image, s * tokens : (s + 1) * tokens] for s in slots)
            for token in range(tokens):
                a = (k @ q[token]) / math.sqrt(tokens)
                root = torch.tensor(
                    [math.copysign(math.sqrt(abs(t) + delta), t) for t in a], dtype=x.dtype
                )
                own = head * tokens + token
                target = token * heads + head
                added = target if residual_last else own
                out[image, target] = root.softmax(0) @ v + x[image, added].flatten()
    return out.view_as(x)


@pytest.mark.parametrize(("stacked", "residual_last"), LAYOUTS)
def test_values_equal_one_head_at_a_time(stacked, residual_last):
    x, weight, bias = arguments()
    options = (4, 1e-5, stacked, residual_last)
    got = reference.icon_attention(x, weight, bias, *options)
    torch.testing.assert_close(got, by_hand(x, weight, bias, *options), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("with_bias", [False, True])
@pytest.mark.parametrize(("stacked", "residual_last"), LAYOUTS)
def test_written_gradient_equals_autograd(stacked, residual_last, with_bias):
    x, weight, bias = (t.requires_grad_() for t in arguments())
    options = (bias if with_bias else None, 4, 1e-5, stacked, residual_last)
    out = reference.icon_attention(x, weight, *options)
    inputs = (x, weight, bias) if with_bias else (x, weight)
    cotangent = arguments(seed=1)[0]
    expected = torch.autograd.grad(out, inputs, cotangent)
    with torch.no_grad():
        got = reference.icon_attention_backward(cotangent, x, weight, *options)
    for ours, truth in zip(got, expected, strict=False):
        torch.testing.assert_close(ours, truth, rtol=1e-10, atol=1e-12)


def test_zero_projection_only_permutes_the_channels():
    x, weight, bias = arguments(heads=4, tokens=3)
    out = reference.icon_attention(x, 0 * weight, 0 * bias, 4, 1e-5, False, False)
    for head in range(4):
        for token in range(3):
            assert torch.equal(out[:, token * 4 + head], x[:, head * 3 + token])
    last = reference.icon_attention(x, 0 * weight, 0 * bias, 4, 1e-5, False, True)
    assert torch.equal(last, x)


def test_two_steps_reset_the_order():
    x, weight, _ = arguments(heads=4, tokens=3)
    once = reference.icon_attention(x, 0 * weight, None, 4, 1e-5, False, False)
    twice = reference.icon_attention(once, x.new_zeros(36, 4, 1, 1), None, 3, 1e-5, False, False)
    assert torch.equal(twice, x)


def test_without_queries_and_keys_every_token_gets_the_mean_value():
    x, weight, bias = arguments()
    slots = weight.view(4, 3, 3, 3)
    slots[:, :2] = 0
    bias.view(4, 3, 3)[:, :2] = 0
    out = reference.icon_attention(x, weight, bias, 4, 1e-5, False, False)
    values = F.conv2d(x, weight, bias, groups=4).view(2, 4, 3, 3, 3, 5)[:, :, 2]
    expected = (values.mean(2, keepdim=True) + x.view(2, 4, 3, 3, 5)).transpose(1, 2)
    torch.testing.assert_close(out, expected.reshape_as(x))


@pytest.mark.parametrize("group", range(6))
def test_an_input_group_reaches_exactly_its_three_projected_slots(group):
    heads, tokens = 6, 2
    x, weight, bias = arguments(heads=heads, tokens=tokens)
    changed = x.clone()
    changed[:, group * tokens : (group + 1) * tokens] += 1
    for stacked in (False, True):
        before = torch.stack(_project(x, weight, bias, heads, stacked), 1 if stacked else 2)
        after = torch.stack(_project(changed, weight, bias, heads, stacked), 1 if stacked else 2)
        moved = (before != after).flatten(3).any(3).any(0).flatten().nonzero().flatten()
        assert moved.tolist() == [3 * group, 3 * group + 1, 3 * group + 2]


@pytest.mark.parametrize("stacked", [False, True])
def test_a_head_reads_the_input_groups_of_its_layout(stacked):
    heads, tokens = 6, 2
    x, weight, bias = arguments(batch=1, heads=heads, tokens=tokens)
    x.requires_grad_()
    out = reference.icon_attention(x, weight, bias, heads, 1e-5, stacked, False)
    # Without the residual, which would add the head's own group.
    attended = (out - x.view(1, heads, tokens, 3, 5).transpose(1, 2).reshape(x.shape)).view(
        tokens, heads, -1
    )
    for head in range(heads):
        (grad,) = torch.autograd.grad(attended[:, head].square().sum(), x, retain_graph=True)
        seen = set((grad.view(heads, -1).abs().amax(1) > 1e-9).nonzero().flatten().tolist())
        q_k_v = {head // 3, (head + heads) // 3, (head + 2 * heads) // 3}
        assert seen == (q_k_v if stacked else {head})


def test_signed_root_is_zero_with_zero_slope_at_zero_and_jumps_beside_it():
    delta = 1e-5
    logits = torch.tensor([[0.0, 0.0], [1e-12, -1e-12], [4.0, -4.0]], dtype=torch.float64)
    root = torch.tensor(
        [[0.0, 0.0], [math.sqrt(delta), -math.sqrt(delta)], [math.sqrt(4 + delta)] * 2],
        dtype=torch.float64,
    )
    root[2, 1] *= -1
    torch.testing.assert_close(_weights(logits, delta), root.softmax(-1))
    for stay_finite in (delta, 0.0):
        zero = torch.zeros(3, 3, dtype=torch.float64, requires_grad=True)
        (_weights(zero, stay_finite) * torch.arange(3.0)).sum().backward()
        assert torch.equal(zero.grad, torch.zeros_like(zero))


@pytest.mark.parametrize("delta", [1e-5, 0.0])
def test_gradient_through_all_zero_logits_is_finite(delta):
    x, weight, bias = arguments()
    d_x, d_weight, d_bias = reference.icon_attention_backward(
        torch.ones_like(x), x, 0 * weight, 0 * bias, 4, delta, False, False
    )
    for grad in (d_x, d_weight, d_bias):
        assert bool(torch.isfinite(grad).all())


def test_half_precision_keeps_root_and_softmax_in_float32():
    q = torch.full((1, 1, 2, 4), 1e-3, dtype=torch.bfloat16)
    weights = _weights((q @ q.transpose(-2, -1)).float(), 1e-5)
    assert weights.dtype is torch.float32
    x, weight, bias = (t.bfloat16() for t in arguments(dtype=torch.float32))
    assert reference.icon_attention(x, weight, bias, 4, 1e-5, False, True).dtype is torch.bfloat16
