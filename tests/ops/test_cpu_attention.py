"""ICON's step and SEM's mask as the CPU runs them: equal to the reference in every layout."""

import pytest
import torch

from semicon_fast import ops, reference
from semicon_fast.ops import _cpu, _cpu_mask

ICON = torch.ops.semicon_fast.icon_attention.default
ICON_BACKWARD = torch.ops.semicon_fast.icon_attention_backward.default
VARIANTS = [(stacked, last) for stacked in (False, True) for last in (False, True)]
LAYOUTS = [torch.contiguous_format, torch.channels_last]
# (batch, heads, tokens, height, width); 5 images never divide into groups of 2 or 3.
SHAPES = [(1, 4, 3, 3, 5), (5, 6, 2, 7, 1), (5, 1, 8, 2, 2), (5, 8, 1, 3, 3), (3, 16, 16, 7, 7)]


@pytest.fixture(params=["one image at a time", "two", "all"])
def products(request, monkeypatch):
    """Batched products for every shape, in groups of that many images."""
    monkeypatch.setattr(_cpu, "WORTH_A_LOOP", 0)

    def groups(x, heads):
        logits = x.shape[1] ** 2 // heads
        many = {"one image at a time": 1, "two": 2, "all": 1000}[request.param]
        a_thread = -(-many * logits // torch.get_num_threads())
        monkeypatch.setattr(_cpu, "LOGITS_A_THREAD", a_thread)

    return groups


def arguments(shape, dtype=torch.float64, layout=torch.contiguous_format, with_bias=True):
    batch, heads, tokens, *size = shape
    generator = torch.Generator().manual_seed(0)

    def draw(*sizes):
        return torch.randn(*sizes, generator=generator, dtype=torch.float64).to(dtype)

    channels = heads * tokens
    x = draw(batch, channels, *size).to(memory_format=layout)
    weight = draw(3 * channels, tokens, 1, 1) / tokens**0.5
    return x, weight, draw(3 * channels) if with_bias else None


def decided(shape):
    """As `arguments`, with logits of both signs that stay away from 0: x is positive and each
    projected channel has one sign. Near 0 the signed root turns the rounding of one logit into
    most of the error of any implementation, by chance of one or the other.
    """
    batch, heads, tokens, *size = shape
    generator = torch.Generator().manual_seed(0)

    def draw(*sizes):
        return torch.rand(*sizes, generator=generator, dtype=torch.float64)

    channels = heads * tokens
    sign = (draw(3 * channels) - 0.5).sign()
    weight = (draw(3 * channels, tokens) + 0.1) * sign[:, None] / tokens
    x, bias = draw(batch, channels, *size) + 0.5, draw(3 * channels) * sign
    return x, weight.view(3 * channels, tokens, 1, 1), bias


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(("stacked", "residual_last"), VARIANTS)
@pytest.mark.parametrize("shape", SHAPES)
def test_values_and_gradients_equal_the_reference(shape, stacked, residual_last, layout, products):
    for with_bias in (False, True):
        x, weight, bias = arguments(shape, layout=layout, with_bias=with_bias)
        rest = (x, weight, bias, shape[1], 1e-5, stacked, residual_last)
        products(x, shape[1])
        # A gradient may come in another layout than the map's.
        grad = torch.randn(x.shape, dtype=x.dtype, generator=torch.Generator())
        own = (ICON(*rest), *ICON_BACKWARD(grad, *rest))
        plain = (reference.icon_attention(*rest), *reference.icon_attention_backward(grad, *rest))
        for ours, truth in zip(own, plain, strict=True):
            torch.testing.assert_close(ours, truth, rtol=1e-9, atol=1e-10)
            assert ours.stride() == truth.stride()


@pytest.mark.parametrize("kernels", [True, False])
@pytest.mark.parametrize(("stacked", "residual_last"), VARIANTS)
def test_error_in_single_precision_is_at_most_twice_the_references(
    stacked, residual_last, kernels, monkeypatch
):
    if not kernels:
        monkeypatch.setattr(_cpu, "WORTH_A_KERNEL", float("inf"))
    shape = (2, 16, 32, 7, 7)
    options = (shape[1], 1e-5, stacked, residual_last)
    results = []
    for dtype in (torch.float64, torch.float32):
        given = [t.to(dtype) for t in decided(shape)]
        assert _cpu._takes(given[0], shape[1])
        grad = arguments(shape, dtype)[0].flip(1)
        results.append(
            (
                reference.icon_attention(*given, *options),
                *reference.icon_attention_backward(grad, *given, *options),
            )
        )
    own = (ICON(*given, *options), *ICON_BACKWARD(grad, *given, *options))
    for exact, plain, ours in zip(*results, own, strict=True):
        allowed = 2 * (plain - exact).abs().max() + 1e-6 * exact.abs().max()
        assert (ours - exact).abs().max() <= allowed


@pytest.mark.parametrize("with_bias", [False, True])
@pytest.mark.parametrize(("stacked", "residual_last"), VARIANTS)
def test_gradcheck(stacked, residual_last, with_bias, products):
    given = [t.requires_grad_() for t in arguments((2, 3, 2, 1, 3))[: 3 if with_bias else 2]]
    products(given[0], 3)

    def attention(x, weight, bias=None):
        return ops.icon_attention(x, weight, bias, 3, 1e-5, stacked, residual_last)

    # Random logits stay away from 0, where the signed root jumps.
    assert torch.autograd.gradcheck(attention, given, eps=1e-7, atol=1e-4)


@pytest.mark.parametrize("delta", [1e-5, 0.0])
def test_logits_of_zero_weigh_equally_and_pass_no_gradient(delta, products):
    x, weight, bias = arguments((3, 4, 3, 2, 2))
    # Half of the queries are 0, so half of the logits are.
    slots = weight.view(4, 3, 3, 3, 1, 1)
    slots[::2, 0], bias.view(4, 3, 3)[::2, 0] = 0, 0
    products(x, 4)
    rest = (x, weight, bias, 4, delta, False, False)
    torch.testing.assert_close(ICON(*rest), reference.icon_attention(*rest))
    grads = ICON_BACKWARD(torch.ones_like(x), *rest)
    for ours, truth in zip(
        grads, reference.icon_attention_backward(torch.ones_like(x), *rest), strict=True
    ):
        assert bool(torch.isfinite(ours).all())
        torch.testing.assert_close(ours, truth)
    assert not grads[1].view(4, 3, 3, 3)[::2, 1].any(), "keys that meet only zero queries"


@pytest.mark.parametrize("layout", LAYOUTS)
def test_operation_passes_opcheck(layout, products):
    x, weight, bias = arguments((3, 4, 3, 3, 5), torch.float32, layout)
    products(x, 4)
    rest = (4, 1e-5, True, False)
    torch.library.opcheck(ICON_BACKWARD, (torch.randn_like(x), x, weight, bias, *rest))
    given = (t.requires_grad_() for t in (x, weight, bias))
    torch.library.opcheck(ICON, (*given, *rest))


def test_arguments_are_left_alone_and_slices_are_taken(products):
    x, weight, bias = arguments((5, 4, 3, 6, 7))
    view = x[1:4, :, 1:, 2:]
    products(view, 4)
    rest = (view, weight, bias, 4, 1e-5, True, True)
    before = [t.clone() for t in (x, weight, bias)]
    own = (ICON(*rest), *ICON_BACKWARD(view.flip(0), *rest))
    plain = (
        reference.icon_attention(*rest),
        *reference.icon_attention_backward(view.flip(0), *rest),
    )
    for ours, truth in zip(own, plain, strict=True):
        torch.testing.assert_close(ours, truth)
    assert all(torch.equal(a, b) for a, b in zip((x, weight, bias), before, strict=True))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_and_small_maps_are_the_references(dtype):
    half, small = arguments((2, 16, 32, 7, 7), dtype), arguments((2, 4, 3, 3, 5), torch.float32)
    empty = (arguments((1, 16, 32, 7, 7))[0][:0], *arguments((1, 16, 32, 7, 7))[1:])
    for given, heads in ((half, 16), (small, 4), (empty, 16)):
        rest = (*given, heads, 1e-5, True, True)
        assert torch.equal(ICON(*rest), reference.icon_attention(*rest))


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
@pytest.mark.parametrize(
    "switches", [(p, c, d) for p in (False, True) for c in (False, True) for d in (False, True)]
)
def test_mask_without_kernel_is_the_references_bit_for_bit(switches, dtype, layout, monkeypatch):
    monkeypatch.setattr(_cpu_mask, "WORTH_A_KERNEL", float("inf"))
    generator = torch.Generator().manual_seed(0)
    guidance = torch.randn(5, 16, 14, 13, generator=generator).to(dtype)
    guidance = guidance.to(memory_format=layout)
    score = 3 * torch.randn(5, 1, 14, 13, generator=generator).to(dtype)
    score[2] = 0.7
    grad = guidance.flip(1).contiguous()
    options = (guidance, score, 0.3, *switches)
    own = torch.ops.semicon_fast.sem_mask(*options)
    plain = reference.sem_mask(*options)
    assert torch.equal(own, plain) and own.stride() == plain.stride()
    own = torch.ops.semicon_fast.sem_mask_backward(grad, *options)
    plain = reference.sem_mask_backward(grad, *options)
    assert torch.equal(own[0], plain[0]) and own[0].stride() == plain[0].stride()
    tolerance = {} if dtype is torch.bfloat16 else {"rtol": 1e-4, "atol": 1e-6}
    torch.testing.assert_close(own[1], plain[1], **tolerance)
    if not switches[0]:
        assert not own[1][2].any(), "a flat map gets no gradient"
