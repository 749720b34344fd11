"""Channel attention as an operation: dispatcher, gradients, compilation, layouts, refusals."""

import pytest
import torch

from semicon_fast import ops, reference

FORWARD = torch.ops.semicon_fast.icon_attention.default
BACKWARD = torch.ops.semicon_fast.icon_attention_backward.default
CASES = [(False, False, True), (True, True, False)]


def inputs(batch=2, heads=4, tokens=3, size=(3, 5), dtype=torch.float32):
    generator = torch.Generator().manual_seed(0)
    channels = heads * tokens

    def draw(*shape):
        return torch.randn(*shape, generator=generator, dtype=dtype)

    return draw(batch, channels, *size), draw(3 * channels, tokens, 1, 1), draw(3 * channels)


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize(("stacked", "residual_last", "with_bias"), CASES)
def test_operation_passes_opcheck(stacked, residual_last, with_bias, channels_last):
    x, weight, bias = inputs()
    if channels_last:
        x = x.to(memory_format=torch.channels_last)
    rest = (4, 1e-5, stacked, residual_last)
    b = bias if with_bias else None
    torch.library.opcheck(BACKWARD, (torch.randn_like(x), x, weight, b, *rest))
    x, weight = x.clone().requires_grad_(), weight.requires_grad_()
    torch.library.opcheck(FORWARD, (x, weight, b.requires_grad_() if with_bias else None, *rest))


@pytest.mark.parametrize("stacked", [False, True])
@pytest.mark.parametrize("residual_last", [False, True])
def test_operation_equals_the_reference(stacked, residual_last):
    options = (4, 1e-5, stacked, residual_last)
    assert torch.equal(
        ops.icon_attention(*inputs(), *options), reference.icon_attention(*inputs(), *options)
    )


@pytest.mark.parametrize(("stacked", "residual_last", "with_bias"), CASES)
def test_gradcheck(stacked, residual_last, with_bias):
    # Random logits stay away from 0, where the signed root jumps.
    given = list(inputs(1, 3, 2, (1, 3), torch.float64))[: 3 if with_bias else 2]
    given = [t.requires_grad_() for t in given]

    def attention(x, weight, bias=None):
        return ops.icon_attention(x, weight, bias, 3, 1e-5, stacked, residual_last)

    assert torch.autograd.gradcheck(attention, given, eps=1e-7, atol=1e-4)


def compiled_equals_eager(backend):
    # Two steps with another number of heads each, as in ICON.
    def step(x, weight, bias, weight2):
        once = ops.icon_attention(x, weight, bias, 4)
        return ops.icon_attention(once.relu(), weight2, None, 3, stacked=True, residual_last=True)

    compiled = torch.compile(step, backend=backend, fullgraph=True)
    results = []
    for function in (step, compiled):
        given = [t.requires_grad_() for t in (*inputs(), inputs(heads=3, tokens=4)[1])]
        out = function(*given)
        out.square().sum().backward()
        results.append((out.detach(), *(t.grad for t in given)))
    for eager, other in zip(*results, strict=True):
        torch.testing.assert_close(other, eager, rtol=1e-4, atol=1e-4)


def test_compiled_equals_eager():
    compiled_equals_eager("aot_eager")


@pytest.mark.slow
def test_compiled_by_inductor_equals_eager():
    compiled_equals_eager("inductor")


@pytest.mark.parametrize("residual_last", [False, True])
def test_layout_is_kept(residual_last):
    x, weight, bias = inputs()
    last = x.to(memory_format=torch.channels_last).requires_grad_()
    out = ops.icon_attention(last, weight, bias, 4, residual_last=residual_last)
    assert out.is_contiguous(memory_format=torch.channels_last)
    plain = ops.icon_attention(x, weight, bias, 4, residual_last=residual_last)
    torch.testing.assert_close(out, plain)
    (grad,) = torch.autograd.grad(out.sum(), last)
    assert grad.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("size", [(1, 1), (7, 7), (2, 13)])
@pytest.mark.parametrize(("heads", "tokens"), [(1, 6), (6, 1), (5, 7)])
def test_odd_sizes_slices_and_single_images(size, heads, tokens):
    x, weight, bias = inputs(batch=3, heads=heads, tokens=tokens, size=(size[0] + 1, size[1] + 2))
    view = x[:, :, 1:, 2:]
    whole = ops.icon_attention(view.contiguous(), weight, bias, heads)
    torch.testing.assert_close(ops.icon_attention(view, weight, bias, heads), whole)
    torch.testing.assert_close(ops.icon_attention(view[1:2], weight, bias, heads), whole[1:2])


def test_no_images_give_no_images_and_zero_weight_gradients():
    x, weight, bias = inputs(batch=0)
    weight.requires_grad_()
    out = ops.icon_attention(x, weight, bias, 4)
    assert out.shape == x.shape
    out.sum().backward()
    assert torch.equal(weight.grad, torch.zeros_like(weight))


def test_meta_tensors_have_the_right_shape():
    x, weight, bias = (t.to("meta") for t in inputs())
    assert ops.icon_attention(x, weight, bias, 4).shape == x.shape


def test_under_autocast_everything_is_cast_to_its_dtype():
    x, weight, bias = inputs()
    weight.requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        out = ops.icon_attention(x, weight, bias, 4)
    half = ops.icon_attention(x.bfloat16(), weight.detach().bfloat16(), bias.bfloat16(), 4)
    assert torch.equal(out, half)
    out.float().sum().backward()
    assert weight.grad.dtype is torch.float32


def test_backward_inside_autocast_equals_backward_outside():
    grads = []
    for inside in (False, True):
        x, weight, bias = (t.requires_grad_() for t in inputs())
        with torch.autocast("cpu", torch.bfloat16):
            out = ops.icon_attention(x, weight, bias, 4)
            if inside:
                out.float().square().sum().backward()
        if not inside:
            out.float().square().sum().backward()
        grads.append(x.grad)
    assert torch.equal(*grads)


def test_second_derivatives_and_vmap_are_refused_with_a_sentence():
    x, weight, bias = (t.requires_grad_() for t in inputs())
    (grad,) = torch.autograd.grad(
        ops.icon_attention(x, weight, bias, 4).square().sum(), x, create_graph=True
    )
    with pytest.raises(RuntimeError, match="icon_attention has first derivatives only"):
        grad.sum().backward()
    with pytest.raises(NotImplementedError, match=r"no torch\.func\.vmap rule"):
        torch.func.vmap(lambda t: ops.icon_attention(t, weight, bias, 4))(x[None])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"x": torch.zeros(12, 3, 5)}, r"x must be \(B, C, H, W\)"),
        ({"x": torch.zeros(2, 12, 3, 5, dtype=torch.uint8)}, "floating point, got torch.uint8"),
        ({"num_heads": 5}, "divide the 12 channels, got 5"),
        ({"num_heads": 0}, "must be positive"),
        ({"num_heads": -4}, "must be positive"),
        ({"num_heads": 3}, r"weight must be \(36, 4, 1, 1\).*got \(36, 3, 1, 1\)"),
        ({"bias": torch.zeros(12)}, r"bias must be \(36,\), got \(12,\)"),
        ({"delta": -1e-5}, "delta must be finite and at least 0"),
        ({"delta": float("inf")}, "delta must be finite"),
        ({"weight": torch.zeros(36, 3, 1, 1).double()}, "one dtype.*torch.float64"),
        ({"bias": torch.zeros(36).bfloat16()}, "x and bias must have one dtype"),
        ({"weight": torch.zeros(36, 3, 1, 1, device="meta")}, "one device, got cpu and meta"),
    ],
)
def test_bad_arguments_are_named(change, message):
    x, weight, bias = inputs()
    with pytest.raises(ValueError, match=message):
        ops.icon_attention(**{"x": x, "weight": weight, "bias": bias, "num_heads": 4, **change})
