"""Moments out of a step, a norm inside the next: dispatcher, gradients, compilation, refusals."""

import warnings

import pytest
import torch
import torch.nn.functional as F

from semicon_fast import ops, reference
from semicon_fast.ops import _triton

MOMENTS = torch.ops.semicon_fast.icon_attention_moments.default
NORMED = torch.ops.semicon_fast.icon_attention_normed.default
BACKWARD = torch.ops.semicon_fast.icon_attention_normed_backward.default
STEP = (4, 1e-5, True, True)
LAYOUTS = [torch.contiguous_format, torch.channels_last]


def draws(dtype=torch.float32):
    generator = torch.Generator().manual_seed(0)
    return lambda *shape: torch.randn(*shape, generator=generator, dtype=dtype)


def inputs(batch=2, heads=4, tokens=3, size=(3, 5), dtype=torch.float32):
    """x, the four vectors, weight, bias."""
    draw = draws(dtype)
    channels = heads * tokens
    vectors = draw(channels), draw(channels).square() + 0.1, draw(channels), draw(channels)
    x = draw(batch, channels, *size)
    return x, *vectors, draw(3 * channels, tokens, 1, 1), draw(3 * channels)


def composed(x, mean, variance, scale, shift, weight, bias, own, *step):
    """The same by torch's BatchNorm."""
    running = (None, None) if own else (mean, variance)
    z = F.batch_norm(x, *running, scale, shift, training=own, eps=1e-5).relu()
    return ops.icon_attention(z, weight, bias, *step)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(("own", "with_bias"), [(False, True), (True, False)])
def test_operations_pass_opcheck(own, with_bias, layout):
    x, *vectors, weight, bias = inputs()
    x, bias = x.to(memory_format=layout), bias if with_bias else None
    rest = (*STEP, 1e-5, own)
    torch.library.opcheck(BACKWARD, (torch.randn_like(x), x, *vectors, weight, bias, *rest))
    for tensor in (x, *vectors[2:], weight, *([bias] if with_bias else [])):
        tensor.requires_grad_()
    torch.library.opcheck(NORMED, (x, *vectors, weight, bias, *rest))
    torch.library.opcheck(MOMENTS, (x, weight, bias, *STEP))


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("own", [False, True])
def test_values_and_gradients_equal_those_of_batch_norm(own, layout):
    x, mean, variance, *rest = inputs(dtype=torch.float64)
    x = x.to(memory_format=layout)
    if own:
        variance, mean = torch.var_mean(x, (0, 2, 3), correction=0)
    given = x, mean, variance, *rest
    leaves = [given[i].requires_grad_() for i in (0, 3, 4, 5, 6)]
    results = []
    for out in (
        ops.icon_attention_normed(*given, *STEP, batch_statistics=own),
        composed(*given, own, *STEP),
    ):
        assert out.is_contiguous(memory_format=layout)
        results.append((out, *torch.autograd.grad(out.square().sum(), leaves)))
    for fused, plain in zip(*results, strict=True):
        torch.testing.assert_close(fused, plain)


@pytest.mark.parametrize("own", [False, True])
def test_gradcheck(own):
    x, mean, variance, *rest = inputs(2, 3, 2, (1, 3), torch.float64)

    def step(x, *rest):
        given = mean, variance
        if own:
            given = torch.var_mean(x.detach(), (0, 2, 3), correction=0)[::-1]
        return ops.icon_attention_normed(x, *given, *rest, 3, batch_statistics=own)

    given = [t.requires_grad_() for t in (x, *rest)]
    assert torch.autograd.gradcheck(step, given, eps=1e-7, atol=1e-4)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_moments_are_those_of_the_rounded_output_and_pass_no_gradient(dtype):
    x, *_, weight, bias = inputs(dtype=dtype)
    out, mean, variance = ops.icon_attention_moments(x.requires_grad_(), weight, bias, *STEP)
    assert torch.equal(out, reference.icon_attention(x, weight, bias, *STEP))
    wide = torch.promote_types(dtype, torch.float32)
    assert mean.dtype is variance.dtype is wide and not mean.requires_grad
    expected = torch.var_mean(out.detach().double(), (0, 2, 3), correction=0)
    torch.testing.assert_close((variance.double(), mean.double()), expected)
    (grad,) = torch.autograd.grad(out.sum(), x)
    (plain,) = torch.autograd.grad(ops.icon_attention(x, weight, bias, *STEP).sum(), x)
    assert torch.equal(grad, plain)


def test_half_precision_is_normalised_in_float32():
    x, *vectors, weight, bias = inputs()
    x, weight, bias = (t.bfloat16() for t in (x, weight, bias))
    out = ops.icon_attention_normed(x, *vectors, weight, bias, *STEP)
    assert torch.equal(out, composed(x, *vectors, weight, bias, False, *STEP))


def test_under_autocast_the_vectors_keep_their_dtype():
    x, *vectors, weight, bias = inputs()
    weight.requires_grad_()
    vectors[2].requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        y, _, _ = ops.icon_attention_moments(x, weight, bias, *STEP)
        out = ops.icon_attention_normed(x, *vectors, weight, bias, *STEP)
    assert y.dtype is out.dtype is torch.bfloat16
    half = (t.bfloat16() for t in (weight, bias))
    assert torch.equal(out, ops.icon_attention_normed(x.bfloat16(), *vectors, *half, *STEP))
    out.float().sum().backward()
    assert weight.grad.dtype is vectors[2].grad.dtype is torch.float32


def test_compiled_equals_eager():
    def steps(x, scale, shift, weight, bias):
        y, mean, variance = ops.icon_attention_moments(x, weight, bias, *STEP)
        return ops.icon_attention_normed(
            y, mean, variance, scale, shift, weight, bias, *STEP, batch_statistics=True
        )

    x, _, _, *rest = inputs()
    compiled = torch.compile(steps, backend="aot_eager", fullgraph=True)
    results = []
    for function in (steps, compiled):
        leaves = [t.detach().requires_grad_() for t in (x, *rest)]
        out = function(*leaves)
        results.append((out, *torch.autograd.grad(out.square().sum(), leaves)))
    for eager, other in zip(*results, strict=True):
        torch.testing.assert_close(other, eager, rtol=1e-4, atol=1e-4)


def test_no_images_give_zero_gradients():
    x, *rest = inputs(batch=0)
    scale = rest[2].requires_grad_()
    out = ops.icon_attention_normed(x, *rest, *STEP, batch_statistics=True)
    (grad,) = torch.autograd.grad(out.sum(), scale)
    assert out.shape == x.shape and not grad.any()


def test_meta_tensors_have_the_right_shape():
    x, *rest = (t.to("meta") for t in inputs())
    assert ops.icon_attention_normed(x, *rest, *STEP).shape == x.shape
    assert [tuple(t.shape) for t in ops.icon_attention_moments(x, *rest[4:], *STEP)[1:]] == [
        (12,),
        (12,),
    ]


def test_second_derivatives_are_refused_with_a_sentence():
    x, *rest = inputs()
    out = ops.icon_attention_normed(x.requires_grad_(), *rest, *STEP)
    (grad,) = torch.autograd.grad(out.square().sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="icon_attention_normed has first derivatives only"):
        grad.sum().backward()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"x": torch.zeros(12, 3, 5)}, r"x must be \(B, C, H, W\)"),
        ({"num_heads": 5}, "divide the 12 channels, got 5"),
        ({"delta": -1e-5}, "delta must be finite and at least 0"),
        ({"num_heads": 3}, r"weight must be \(36, 4, 1, 1\).*got \(36, 3, 1, 1\)"),
        ({"bias": torch.zeros(12)}, r"bias must be \(36,\).*got \(12,\)"),
        ({"bias": torch.zeros(36).bfloat16()}, "x and bias must have one dtype"),
        ({"mean": torch.zeros(11)}, r"mean must be \(12,\).*got \(11,\)"),
        ({"shift": torch.zeros(12, dtype=torch.int64)}, "shift must be .*got .*torch.int64"),
        ({"scale": torch.zeros(12, device="meta")}, "x and scale must be on one device"),
    ],
)
def test_bad_arguments_are_named(change, message):
    names = ("x", "mean", "variance", "scale", "shift", "weight", "bias")
    given = dict(zip(names, inputs(), strict=True)) | {"num_heads": 4}
    with pytest.raises(ValueError, match=message):
        ops.icon_attention_normed(**(given | change))


@pytest.mark.parametrize("op", [MOMENTS, NORMED, BACKWARD])
def test_the_kernels_serve_cuda(op):
    name = op._schema.name.partition("::")[2]
    assert ops.backends()[name] == {"cpu": "reference", "cuda": "native"}


@pytest.fixture
def forgotten(monkeypatch):
    """No announcement made before, none left behind."""
    monkeypatch.delenv("SEMICON_FAST_BACKEND", raising=False)
    for cached in (_triton._announce, _triton._device_reason, _triton._kernels):
        cached.cache_clear()
    yield
    for cached in (_triton._announce, _triton._device_reason, _triton._kernels):
        cached.cache_clear()


def test_what_the_kernels_cannot_take_goes_to_the_reference_and_says_so(forgotten):
    pytest.importorskip("triton")
    given = inputs(dtype=torch.float64)
    x, step = given[0], (*given[5:], *STEP)
    with pytest.warns(RuntimeWarning, match="icon_attention_normed on CUDA .* dtype"):
        out = _triton.icon_attention_normed(*given, *STEP, 1e-5, True)
    assert torch.equal(out, reference.icon_attention_normed(*given, *STEP, 1e-5, True))
    with pytest.warns(RuntimeWarning, match="icon_attention_moments on CUDA"):
        own = _triton.icon_attention_moments(x, *step)
    assert all(map(torch.equal, own, reference.icon_attention_moments(x, *step)))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        grads = _triton.icon_attention_normed_backward(out, *given, *STEP, 1e-5, True)
    expected = reference.icon_attention_normed_backward(out, *given, *STEP, 1e-5, True)
    assert all(map(torch.equal, grads, expected))


def test_the_norm_is_loaded_where_kernels_take_the_maps_and_are_wished_for(forgotten, monkeypatch):
    pytest.importorskip("triton")
    device = torch.device("cpu")
    assert _triton._loads_norm(device, torch.bfloat16, 256)
    assert not _triton._loads_norm(device, torch.float64, 256)
    assert not _triton._loads_norm(device, torch.float32, 257)
    monkeypatch.setenv("SEMICON_FAST_BACKEND", "reference")
    assert not _triton._loads_norm(device, torch.bfloat16, 256)
    assert not ops.loads_norm(inputs()[0], 4)


def test_the_choice_is_made_while_compiling(monkeypatch):
    pytest.importorskip("triton")
    monkeypatch.delenv("SEMICON_FAST_BACKEND", raising=False)

    def chosen(x):
        return x + 1 if _triton._loads_norm(x.device, x.dtype, x.shape[1]) else x - 1

    compiled = torch.compile(chosen, backend="aot_eager", fullgraph=True)
    x = torch.zeros(1, 8, 1, 1)
    assert torch.equal(compiled(x), x + 1) and torch.equal(compiled(x.double()), x.double() - 1)
