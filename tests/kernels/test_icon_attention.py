"""ICON's kernels against the reference: every gradient, shape, dtype, layout; memory they own."""

import itertools
import math
import os

import pytest
import torch

from semicon_fast import reference

if os.environ.get("TRITON_INTERPRET") != "1":
    pytest.skip("run by test_interpreted.py", allow_module_level=True)

from semicon_fast.kernels.icon_attention import icon_attention_fwd, unsupported
from semicon_fast.kernels.icon_attention_backward import icon_attention_bwd

DTYPES = [torch.float32, torch.bfloat16, torch.float16]
LAYOUTS = [torch.contiguous_format, torch.channels_last]
# (stacked, residual_last) of the paper, and of the released code's second step.
VARIANTS = [(False, False), (True, True)]
# Images, heads, channels a group, map.
SHAPES = [
    (3, 2, 8, (4, 4)),
    (1, 4, 12, (7, 7)),
    (1, 2, 24, (9, 9)),
    (1, 1, 48, (10, 10)),
    (1, 2, 64, (7, 7)),
    (1, 3, 32, (7, 7)),
    (1, 1, 96, (5, 7)),
    (1, 1, 128, (4, 4)),
    (1, 2, 16, (12, 12)),
]
LARGE = [
    (1, 1, 256, (7, 7)),
    (1, 2, 8, (32, 32)),
    (1, 1, 200, (16, 16)),
    (1, 2, 64, (14, 14)),
    (1, 2, 128, (10, 10)),
]


def inputs(images, heads, tokens, size, dtype, layout=torch.contiguous_format, seed=0):
    """grad, x, weight, bias whose logits have both signs and stay away from 0.

    Near 0 the signed root turns a rounding of the logits into a large error of any
    implementation. Here x is positive and each projected channel has one sign.
    """
    generator = torch.Generator().manual_seed(seed)
    channels = heads * tokens

    def draw(*shape):
        return torch.rand(*shape, generator=generator)

    sign = (draw(3 * channels) - 0.5).sign()
    x = (draw(images, channels, *size) + 0.5).to(dtype).to(memory_format=layout)
    weight = (draw(3 * channels, tokens) + 0.1) * sign[:, None] / tokens
    grad = torch.randn(x.shape, generator=generator).to(dtype).to(memory_format=layout)
    bias = (draw(3 * channels) * sign).to(dtype)
    return grad, x, weight.to(dtype).view(3 * channels, tokens, 1, 1), bias


def launched(guarded, grad, x, weight, bias, *options):
    """Output and gradients, each written over NaN between guards."""
    x, weight, bias, grad = (guarded(t) for t in (x, weight, bias, grad))
    nan = float("nan")
    out = guarded(x, nan)
    icon_attention_fwd(out, x, weight, bias, *options)
    grads = guarded(x, nan), guarded(weight, nan), guarded(weight[:, 0, 0, 0].clone(), nan)
    icon_attention_bwd(*grads, grad, x, weight, bias, *options)
    return out, *grads


def check(guarded, as_good_as_torch, given, options):
    own = launched(guarded, *given, *options)
    results = []
    for dtype in (given[1].dtype, torch.float64):
        grad, *rest = (None if t is None else t.to(dtype) for t in given)
        out = reference.icon_attention(*rest, *options)
        results.append((out, *reference.icon_attention_backward(grad, *rest, *options)))
    for ours, plain, truth in zip(own, *results, strict=True):
        as_good_as_torch(ours, plain, truth)


# Several images, several tiles of cells, more tokens than one tile holds.
FEW = [SHAPES[0], SHAPES[2], SHAPES[6]]


@pytest.mark.parametrize(
    ("shape", "variant"),
    [
        pytest.param(shape, variant, marks=[] if shape in FEW else pytest.mark.slow)
        for shape, variant in zip(SHAPES, itertools.cycle(VARIANTS), strict=False)
    ],
)
def test_values_and_gradients_equal_the_reference(guarded, as_good_as_torch, shape, variant):
    given = inputs(*shape, torch.float32)
    check(guarded, as_good_as_torch, given, (shape[1], 1e-5, *variant))


HALVES = [(DTYPES[1], SHAPES[1], VARIANTS[1]), (DTYPES[2], SHAPES[4], VARIANTS[0])]


@pytest.mark.parametrize(
    ("dtype", "shape", "variant"),
    [
        pytest.param(*case, marks=[] if case in HALVES else pytest.mark.slow)
        for case in itertools.product(DTYPES[1:], SHAPES[1:6:3], VARIANTS)
    ],
)
def test_half_precision_is_as_good_as_torchs(guarded, as_good_as_torch, dtype, shape, variant):
    given = inputs(*shape, dtype)
    check(guarded, as_good_as_torch, given, (shape[1], 1e-5, *variant))


@pytest.mark.slow
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("shape", SHAPES + LARGE)
def test_every_shape_dtype_and_layout(guarded, as_good_as_torch, shape, variant, dtype, layout):
    given = inputs(*shape, dtype, layout)
    check(guarded, as_good_as_torch, given, (shape[1], 1e-5, *variant))


@pytest.mark.parametrize(
    "variant",
    [(True, False), (False, True), *(pytest.param(v, marks=pytest.mark.slow) for v in VARIANTS)],
)
def test_channels_last_maps_are_read_and_written_in_place(guarded, as_good_as_torch, variant):
    given = inputs(2, 2, 12, (3, 5), torch.float32, torch.channels_last)
    assert given[1].stride(1) == 1
    check(guarded, as_good_as_torch, given, (2, 1e-5, *variant))


@pytest.mark.parametrize("variant", VARIANTS)
def test_without_bias_there_is_none(guarded, as_good_as_torch, variant):
    *given, _ = inputs(1, 3, 12, (3, 5), torch.float32)
    check(guarded, as_good_as_torch, (*given, None), (3, 1e-5, *variant))


@pytest.mark.parametrize(
    ("heads", "tokens", "size"),
    [
        (1, 7, (1, 1)),
        (2, 1, (1, 17)),
        (1, 7, (17, 1)),
        pytest.param(2, 1, (1, 1), marks=pytest.mark.slow),
        pytest.param(1, 7, (1, 17), marks=pytest.mark.slow),
        pytest.param(2, 1, (17, 1), marks=pytest.mark.slow),
    ],
)
def test_rows_columns_and_single_cells(guarded, as_good_as_torch, heads, tokens, size):
    given = inputs(1, heads, tokens, size, torch.float32)
    check(guarded, as_good_as_torch, given, (heads, 1e-5, True, False))


def views(grad, x):
    """Pairs of equal values in memory that is neither contiguous nor channels_last."""
    wide = torch.full((x.shape[0], x.shape[1] + 3, *x.shape[2:]), float("nan"))
    wide[:, 2:-1] = x
    window = torch.full((*x.shape[:2], x.shape[2] + 1, x.shape[3] + 2), float("nan"))
    window[:, :, 1:, 2:] = x
    yield grad, wide[:, 2:-1]
    yield grad, window[:, :, 1:, 2:]
    yield grad.to(memory_format=torch.channels_last), x


def test_slices_windows_and_a_gradient_of_another_layout_give_the_same():
    grad, x, weight, bias = inputs(2, 2, 4, (3, 5), torch.float32)
    options = (2, 1e-5, True, True)

    def run(grad, x):
        out = torch.empty(x.shape)
        icon_attention_fwd(out, x, weight, bias, *options)
        grads = torch.empty(x.shape), torch.empty_like(weight), torch.empty_like(bias)
        icon_attention_bwd(*grads, grad, x, weight, bias, *options)
        return out, *grads

    expected = run(grad, x)
    for view in views(grad, x):
        assert all(map(torch.equal, run(*view), expected))
    ones = torch.ones(()).expand(x.shape)
    assert all(map(torch.equal, run(ones, x), run(ones.contiguous(), x)))


def test_images_do_not_see_each_other_and_weight_gradients_add_up():
    grad, x, weight, bias = inputs(3, 2, 8, (4, 4), torch.float32)
    parts = []
    for chosen in (slice(0, 3), slice(0, 1), slice(1, 3)):
        out = torch.empty_like(x[chosen])
        icon_attention_fwd(out, x[chosen], weight, bias, 2, 1e-5, False, False)
        grads = torch.empty_like(out), torch.empty_like(weight), torch.empty_like(bias)
        icon_attention_bwd(*grads, grad[chosen], x[chosen], weight, bias, 2, 1e-5, False, False)
        parts.append((out, *grads))
    whole, first, second = parts
    for i in (0, 1):
        assert torch.equal(whole[i], torch.cat([first[i], second[i]]))
    for i in (2, 3):
        torch.testing.assert_close(whole[i], first[i] + second[i])


def one_row(logits, delta):
    """Output and gradients of the logits where a row of the attention has just these logits.

    One head of d = len(logits) tokens on two cells. The weights are 0, so q, k, v are the biases:
    q = 1, k gives the logits, v is 0 for even tokens and 1 for odd ones.
    """
    tokens = len(logits)
    bias = torch.ones(3, tokens)
    bias[1] = torch.tensor(logits) * math.sqrt(tokens) / 2
    bias[2] = torch.arange(tokens) % 2
    x, weight = torch.zeros(1, tokens, 1, 2), torch.zeros(3 * tokens, tokens, 1, 1)
    out, grad = torch.empty_like(x), torch.zeros_like(x)
    grad[0, 0, 0, 0] = 1.0
    options = (1, delta, False, False)
    icon_attention_fwd(out, x, weight, bias.flatten(), *options)
    grads = torch.empty_like(x), torch.empty_like(weight), torch.empty(3 * tokens)
    icon_attention_bwd(*grads, grad, x, weight, bias.flatten(), *options)
    # A logit is k times 2 / sqrt(d): two cells, q = 1.
    return out[0, 0, 0, 0].item(), grads[2].view(3, tokens)[1] * math.sqrt(tokens) / 2


def closed_form(logits, delta):
    """The same in float64, written by hand."""
    a = torch.tensor(logits, dtype=torch.float64)
    p = (a.sign() * (a.abs() + delta).sqrt()).softmax(0)
    v = torch.arange(len(logits)) % 2
    out = (p * v).sum()
    slope = torch.where(a == 0, 0.0, 0.5 / (a.abs() + delta).sqrt())
    return out.item(), p * (v - out) * slope


AROUND_ZERO = [0.0, 1e-12, -1e-12, 1e-5, -1e-5, 0.01, -1.0, 3.0]


@pytest.mark.parametrize("delta", [1e-5, pytest.param(1e-3, marks=pytest.mark.slow)])
def test_signed_root_and_its_slope_at_and_around_zero(delta):
    for logit in AROUND_ZERO:
        out, slopes = one_row([logit, 2.0], delta)
        expected, expected_slopes = closed_form([logit, 2.0], delta)
        assert out == pytest.approx(expected, rel=1e-6)
        torch.testing.assert_close(slopes.double(), expected_slopes, rtol=1e-5, atol=0)
    out, slopes = one_row(AROUND_ZERO, delta)
    expected, expected_slopes = closed_form(AROUND_ZERO, delta)
    assert out == pytest.approx(expected, rel=1e-6)
    torch.testing.assert_close(slopes.double(), expected_slopes, rtol=1e-5, atol=1e-9)


def test_at_zero_the_root_jumps_and_no_gradient_passes():
    below, at, above = (one_row([logit, 2.0], 1e-5) for logit in (-1e-12, 0.0, 1e-12))
    # The weight of the other logit falls by p (1 - p) sqrt(delta) on each side.
    step = below[0] * (1 - below[0]) * math.sqrt(1e-5)
    assert below[0] - at[0] == pytest.approx(step, rel=1e-2)
    assert at[0] - above[0] == pytest.approx(step, rel=1e-2)
    assert at[1][0] == 0.0 and below[1][0] != 0.0 and above[1][0] != 0.0


def test_zero_logits_without_delta_stay_finite():
    out, slopes = one_row([0.0, 0.0, 1.0, -1.0], 0.0)
    assert math.isfinite(out) and bool(slopes.isfinite().all())
    assert slopes[0] == 0.0 and slopes[1] == 0.0 and slopes[2] != 0.0


def test_nan_is_not_hidden():
    _, x, weight, bias = inputs(1, 2, 8, (3, 3), torch.float32)
    x[0, 3, 1, 1] = float("nan")
    out = torch.empty_like(x)
    icon_attention_fwd(out, x, weight, bias, 2, 1e-5, False, False)
    plain = reference.icon_attention(x, weight, bias, 2, 1e-5, False, False)
    assert torch.equal(out.isnan(), plain.isnan())


def test_no_images_give_zero_weight_gradients():
    grad, x, weight, bias = inputs(0, 2, 8, (3, 3), torch.float32)
    grads = torch.empty_like(x), torch.full_like(weight, 9), torch.full_like(bias, 9)
    icon_attention_fwd(torch.empty_like(x), x, weight, bias, 2, 1e-5, False, False)
    icon_attention_bwd(*grads, grad, x, weight, bias, 2, 1e-5, False, False)
    assert not grads[1].any() and not grads[2].any()


def test_what_the_kernels_cannot_take_is_named():
    assert unsupported(torch.zeros(1, 256, 1, 1), 1) is None
    assert "257 channels per group" in unsupported(torch.zeros(1, 257, 1, 1), 1)
    assert "float64" in unsupported(torch.zeros(1, 8, 1, 1).double(), 1)
