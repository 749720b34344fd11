"""BatchNorm and ReLU inside ICON's kernels: moments out of one step, applied as the next loads."""

import copy
import itertools
import os

import pytest
import torch

from semicon_fast import ICON, ops, reference
from semicon_fast.ops import _triton

if os.environ.get("TRITON_INTERPRET") != "1":
    pytest.skip("run by test_interpreted.py", allow_module_level=True)

from semicon_fast.kernels.icon_attention import icon_attention_fwd
from semicon_fast.kernels.icon_attention_backward import icon_attention_bwd
from semicon_fast.kernels.icon_norm import Norm

DTYPES = [torch.float32, torch.bfloat16, torch.float16]
LAYOUTS = [torch.contiguous_format, torch.channels_last]
# (stacked, residual_last) of the second step: the paper's, the released code's.
VARIANTS = [(False, False), (True, True)]
EPS = 1e-3
# Images, heads, channels a group, map: one tile of cells and several, tokens below and over 64.
SHAPES = [
    (3, 2, 8, (4, 4)),
    (2, 3, 12, (3, 5)),
    (1, 2, 24, (9, 9)),
    (1, 1, 80, (3, 3)),
    (2, 2, 1, (1, 3)),
]
LARGE = [(2, 2, 64, (7, 7)), (2, 3, 32, (7, 7)), (1, 1, 96, (12, 12)), (1, 2, 8, (32, 32))]


def inputs(images, heads, tokens, size, dtype, layout=torch.contiguous_format):
    """grad, x, (mean, variance, scale, shift) of another batch, weight, bias.

    Each projected channel has one sign and the rectified map none, so that logits stay away from
    0, where the signed root turns roundings into errors of any implementation.
    """
    generator = torch.Generator().manual_seed(0)
    channels = heads * tokens

    def draw(*shape):
        return torch.rand(*shape, generator=generator)

    sign = (draw(3 * channels) - 0.5).sign()
    x, grad = 3 * draw(images, channels, *size) + 1, draw(images, channels, *size) - 0.5
    vectors = draw(channels) + 2, draw(channels) + 0.5, draw(channels) - 0.3, draw(channels) - 0.3
    weight = (draw(3 * channels, tokens) + 0.1) * sign[:, None] / tokens
    maps = [t.to(dtype).to(memory_format=layout) for t in (grad, x)]
    weight, bias = weight.view(3 * channels, tokens, 1, 1), (draw(3 * channels) + 0.1) * sign
    return *maps, vectors, weight.to(dtype), bias.to(dtype)


def launched(guarded, grad, x, vectors, weight, bias, options, own):
    grad, x, weight, bias = (guarded(t) for t in (grad, x, weight, bias))
    norm = Norm(*(guarded(t) for t in vectors), EPS)
    nan = float("nan")
    out = guarded(x, nan)
    icon_attention_fwd(out, x, weight, bias, *options, norm)
    grads = guarded(x, nan), guarded(weight, nan), guarded(weight[:, 0, 0, 0].clone(), nan)
    d_norm = guarded(torch.empty(2, x.shape[1]), nan)
    icon_attention_bwd(*grads, grad, x, weight, bias, *options, norm, d_norm, own)
    return out, grads[0], *d_norm, *grads[1:]


def check(guarded, as_good_as_torch, given, options, own):
    grad, x, vectors, weight, bias = given
    if own:
        variance, mean = torch.var_mean(x.float(), (0, 2, 3), correction=0)
        vectors = mean, variance, *vectors[2:]
    results = []
    for dtype in (x.dtype, torch.float64):
        wide = torch.promote_types(dtype, torch.float32)
        rest = x.to(dtype), *(t.to(wide) for t in vectors), weight.to(dtype), bias.to(dtype)
        out = reference.icon_attention_normed(*rest, *options, EPS, own)
        grads = reference.icon_attention_normed_backward(grad.to(dtype), *rest, *options, EPS, own)
        results.append((out, *grads))
    ours = launched(guarded, grad, x, vectors, weight, bias, options, own)
    for own_result, plain, truth in zip(ours, *results, strict=True):
        as_good_as_torch(own_result, plain, truth)


@pytest.mark.parametrize(
    ("shape", "variant", "own"),
    [
        pytest.param(SHAPES[0], VARIANTS[0], True, marks=pytest.mark.slow),
        (SHAPES[0], VARIANTS[1], False),
        pytest.param(SHAPES[1], VARIANTS[0], False, marks=pytest.mark.slow),
        pytest.param(SHAPES[2], VARIANTS[1], True, marks=pytest.mark.slow),
        (SHAPES[3], VARIANTS[0], True),
        (SHAPES[4], VARIANTS[1], True),
    ],
)
def test_values_and_gradients_equal_the_reference(guarded, as_good_as_torch, shape, variant, own):
    given = inputs(*shape, torch.float32)
    check(guarded, as_good_as_torch, given, (shape[1], 1e-5, *variant), own)


@pytest.mark.parametrize(
    ("dtype", "layout", "own"),
    [
        pytest.param(DTYPES[0], LAYOUTS[1], False, marks=pytest.mark.slow),
        (DTYPES[1], LAYOUTS[1], True),
        (DTYPES[2], LAYOUTS[0], False),
    ],
)
def test_dtypes_and_layouts(guarded, as_good_as_torch, dtype, layout, own):
    given = inputs(2, 3, 12, (3, 5), dtype, layout)
    check(guarded, as_good_as_torch, given, (3, 1e-5, True, True), own)


@pytest.mark.slow
@pytest.mark.parametrize("own", [False, True])
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("shape", SHAPES + LARGE)
def test_every_shape_dtype_and_layout(
    guarded, as_good_as_torch, shape, variant, dtype, layout, own
):
    given = inputs(*shape, dtype, layout)
    check(guarded, as_good_as_torch, given, (shape[1], 1e-5, *variant), own)


@pytest.mark.parametrize("offset", [pytest.param(0.0, marks=pytest.mark.slow), 1000.0])
@pytest.mark.parametrize("dtype", DTYPES[:2])
@pytest.mark.parametrize("shape", SHAPES[1:3])
def test_moments_are_those_of_the_output_however_far_from_zero(guarded, shape, dtype, offset):
    _, x, _, weight, bias = inputs(*shape, dtype)
    x = guarded(x + offset)
    moments = guarded(torch.empty(2, *x.shape[:2]), float("nan"))
    out = torch.empty_like(x)
    icon_attention_fwd(out, x, weight, bias, shape[1], 1e-5, False, False, moments=moments)
    exact = out.double().flatten(2)
    mean = exact.mean(2)
    squares = (exact - mean[:, :, None]).square().sum(2)
    torch.testing.assert_close(moments[0].double(), mean, rtol=1e-6, atol=1e-6)
    # A few roundings of the mean. Sums of squares as they are would lose their root, 0.3.
    own, deviation = ((s / exact.shape[2]).sqrt() for s in (moments[1].double(), squares))
    torch.testing.assert_close(own, deviation, rtol=1e-5, atol=4 * 2**-23 * mean.abs().max().item())


def test_nan_is_not_hidden_by_the_rectifier():
    _, x, vectors, weight, bias = inputs(2, 2, 8, (3, 3), torch.float32)
    x[0, 3, 1, 1] = float("nan")
    out = torch.empty_like(x)
    icon_attention_fwd(out, x, weight, bias, 2, 1e-5, False, False, Norm(*vectors, EPS))
    plain = reference.icon_attention_normed(
        x, *vectors, weight, bias, 2, 1e-5, False, False, EPS, False
    )
    assert out.isnan().any() and torch.equal(out.isnan(), plain.isnan())


def test_no_images_give_zero_gradients():
    grad, x, vectors, weight, bias = inputs(0, 2, 8, (3, 3), torch.float32)
    grads = torch.empty_like(x), torch.empty_like(weight), torch.empty_like(bias)
    d_norm = torch.full((2, 16), 9.0)
    norm = Norm(*vectors, EPS)
    icon_attention_bwd(*grads, grad, x, weight, bias, 2, 1e-5, True, True, norm, d_norm, True)
    assert not d_norm.any()


@pytest.fixture
def kernels_serve(monkeypatch):
    """The layer's operations with a norm run by the kernels, on the CPU."""
    library = torch.library.Library("semicon_fast", "IMPL")
    for name in ("moments", "normed", "normed_backward"):
        implementation = getattr(_triton, f"icon_attention_{name}")
        library.impl(f"icon_attention_{name}", implementation, "CPU")
    _triton._device_reason.cache_clear()
    yield lambda fused: monkeypatch.setattr(ops, "loads_norm", lambda *_: fused)
    library._destroy()


def block(variant, dim, heads, decided):
    """An ICON whose logits stay away from 0 in both steps, and whose norm has lived.

    `decided`: a channel is rectified everywhere or nowhere. Else roundings of a half precision
    map decide about some cells, and the error of a gradient is their number, in any
    implementation.
    """
    icon = ICON(dim, heads, variant=variant)
    _, _, vectors, weight, bias = inputs(1, heads, dim // heads, (1, 1), torch.float32)
    _, _, _, weight2, bias2 = inputs(1, dim // heads, heads, (1, 1), torch.float32)
    values = (weight, bias, weight2, bias2)
    names = ("qkv.weight", "qkv.bias", "qkv2.weight", "qkv2.bias")
    if decided:
        vectors = *vectors[:3], 8 * vectors[3].sign()
    norm = zip(("running_mean", "running_var", "weight", "bias"), vectors, strict=True)
    state = dict(zip(names, values, strict=True)) | {f"norm.{n}": v for n, v in norm}
    icon.load_state_dict(state, strict=False)
    return icon


SMALL, SHAPES_OF_BLOCKS = (3, 2, 4, (3, 5)), [(3, 2, 12, (3, 5)), (2, 3, 4, (9, 9))]
# Shape, variant, training, bfloat16, layout. The norm's gradients are few numbers in the small
# one, too few for errors of two implementations in half precision to be alike.
BLOCKS = [
    (SMALL, "paper", True, False, LAYOUTS[0]),
    pytest.param(SMALL, "official", False, False, LAYOUTS[1], marks=pytest.mark.slow),
]
VARIANTS_OF_BLOCKS = ["paper", "official"]
SWITCHES = [False, True]


@pytest.mark.slow
@pytest.mark.parametrize(
    "case",
    list(itertools.product(SHAPES_OF_BLOCKS, VARIANTS_OF_BLOCKS, SWITCHES, SWITCHES, LAYOUTS)),
)
def test_every_block_equals_step_norm_relu_step(kernels_serve, as_good_as_torch, case):
    test_the_block_equals_step_norm_relu_step(kernels_serve, as_good_as_torch, *case)


@pytest.mark.parametrize(("shape", "variant", "train", "half", "layout"), BLOCKS)
def test_the_block_equals_step_norm_relu_step(
    kernels_serve, as_good_as_torch, shape, variant, train, half, layout
):
    images, heads, tokens, size = shape
    icon = block(variant, heads * tokens, heads, decided=half).train(train)
    grad, x, *_ = inputs(images, heads, tokens, size, torch.float32, layout)
    results = []
    for fused, wide in ((True, False), (False, False), (False, True)):
        kernels_serve(fused)
        own, given = copy.deepcopy(icon), x.clone().requires_grad_()
        if wide:
            own, given = own.double(), given.detach().double().requires_grad_()
        with torch.autocast("cpu", torch.bfloat16, enabled=half and not wide):
            out = own(given)
        grads = torch.autograd.grad(out, [given, *own.parameters()], grad.to(out.dtype))
        results.append((out.detach(), *grads, own.norm.running_mean, own.norm.running_var))
        assert own.norm.num_batches_tracked == int(train)
    for ours, plain, truth in zip(*results, strict=True):
        as_good_as_torch(ours, plain, truth)
