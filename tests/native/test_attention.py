"""ICON by kernels on every instruction set: as exact as torch, equal for any number of threads."""

import pytest
import torch

from semicon_fast import native, reference
from semicon_fast.ops import _cpu

ICON = torch.ops.semicon_fast.icon_attention.default
ICON_BACKWARD = torch.ops.semicon_fast.icon_attention_backward.default
VARIANTS = [(stacked, last) for stacked in (False, True) for last in (False, True)]
LAYOUTS = [torch.contiguous_format, torch.channels_last]
# (batch, heads, tokens, height, width): the network's two steps, then tails of every kind.
SHAPES = [
    (2, 32, 64, 7, 7), (2, 64, 32, 7, 7), (3, 9, 20, 3, 5), (2, 11, 8, 16, 16), (1, 17, 33, 9, 9),
    (2, 2, 256, 4, 4), (4, 24, 8, 1, 1), (1, 2, 100, 32, 32),
]  # fmt: skip


@pytest.fixture
def each_kernel(each_isa, monkeypatch):
    """Go through the instruction sets that have kernels; every call is worth one."""
    monkeypatch.setattr(_cpu, "WORTH_A_KERNEL", 0)

    def go():
        for isa in each_isa():
            if torch.ops.semicon_fast._attention_available():
                yield isa

    return go


def arguments(shape, dtype=torch.float32, layout=torch.contiguous_format, with_bias=True):
    batch, heads, tokens, *size = shape
    generator = torch.Generator().manual_seed(0)
    channels = heads * tokens
    x = torch.randn(batch, channels, *size, generator=generator).to(memory_format=layout)
    weight = torch.randn(3 * channels, tokens, 1, 1, generator=generator) / tokens**0.5
    bias = torch.randn(3 * channels, generator=generator) if with_bias else None
    return tuple(t if t is None else t.to(dtype) for t in (x, weight, bias))


def everything(forward, backward, given, heads, delta, stacked, last):
    """Value, then the gradients for a gradient that comes in its own layout."""
    options = (*given, heads, delta, stacked, last)
    grad = torch.randn(given[0].shape, generator=torch.Generator().manual_seed(1))
    return forward(*options), *backward(grad.to(given[0].dtype), *options)


def by_reference(*rest):
    return everything(reference.icon_attention, reference.icon_attention_backward, *rest)


def by_kernel(*rest):
    return everything(ICON, ICON_BACKWARD, *rest)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(("stacked", "last"), VARIANTS)
@pytest.mark.parametrize("shape", SHAPES)
def test_error_is_at_most_twice_that_of_torch(shape, stacked, last, layout, each_kernel):
    # delta: a slope that hardly varies, so that errors are those of the sums and not of one logit
    # near 0, which any two orders of summation give differently.
    rest = (shape[1], 1.0, stacked, last)
    for with_bias in (True, False) if shape[2] == 20 else (True,):
        exact = by_reference(arguments(shape, torch.float64, layout, with_bias), *rest)
        given = arguments(shape, torch.float32, layout, with_bias)
        plain = by_reference(given, *rest)
        for isa in each_kernel():
            for name, own, torchs, truth in zip(
                ("out", "d_x", "d_weight", "d_bias"), by_kernel(given, *rest), plain, exact,
                strict=True,
            ):  # fmt: skip
                floor = 2e-6 * truth.abs().max()
                for size in (lambda t: t.abs().max(), lambda t: t.abs().mean()):
                    allowed = 2 * size(torchs - truth) + floor
                    assert size(own - truth) <= allowed, (isa, name)
                assert name == "d_weight" or shape[3] == 1 or own.stride() == torchs.stride()


def test_value_is_as_exact_where_the_root_is_steep(each_kernel):
    rest = (32, 1e-5, True, False)
    (exact, *_), (plain, *_) = (
        by_reference(arguments(SHAPES[0], dtype), *rest) for dtype in (torch.float64, torch.float32)
    )
    for isa in each_kernel():
        (own, *_) = by_kernel(arguments(SHAPES[0]), *rest)
        assert (own - exact).abs().mean() <= 2 * (plain - exact).abs().mean(), isa


@pytest.mark.parametrize("layout", LAYOUTS)
def test_threads_neighbours_and_instruction_set_do_not_change_a_bit(layout, each_kernel, threads):
    shape, rest = (5, 11, 24, 5, 7), (11, 1e-5, True, True)
    x, weight, bias = arguments(shape, layout=layout)
    threads(1)
    first = None
    for _ in each_kernel():
        for count in (1, 2, 3, 7):
            threads(count)
            own = by_kernel((x, weight, bias), *rest)
            first = first or own
            assert all(torch.equal(a, b) for a, b in zip(own, first, strict=True))
        alone = ICON(x[3:4].clone(memory_format=layout), weight, bias, *rest)
        assert torch.equal(alone[0], first[0][3])


@pytest.mark.parametrize("delta", [1e-5, 0.0])
def test_logits_of_zero_weigh_equally_and_pass_no_gradient(delta, each_kernel):
    x, weight, bias = arguments((3, 4, 8, 2, 2))
    # Half of the queries are 0, so half of the logits are.
    weight.view(4, 3, 8, 8)[::2, 0], bias.view(4, 3, 8)[::2, 0] = 0, 0
    plain = by_reference((x, weight, bias), 4, delta, False, False)
    for _ in each_kernel():
        own = by_kernel((x, weight, bias), 4, delta, False, False)
        for ours, truth in zip(own, plain, strict=True):
            torch.testing.assert_close(ours, truth, rtol=1e-3, atol=1e-4)
        assert not own[2].view(4, 3, 8, 8)[::2, 1].any(), "keys that meet only zero queries"


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_what_is_no_number_stays_none_and_in_its_image(bad, each_kernel):
    x, weight, bias = arguments((3, 4, 16, 3, 3))
    x[1, 5, 1, 1] = bad
    plain = reference.icon_attention(x, weight, bias, 4, 1e-5, False, False)
    for _ in each_kernel():
        own = ICON(x, weight, bias, 4, 1e-5, False, False)
        assert torch.equal(own.isfinite(), plain.isfinite())
        assert own[::2].isfinite().all() and not own[1].isfinite().all()


def test_logits_of_any_size_are_taken(each_kernel):
    x, weight, bias = arguments((1, 2, 16, 3, 3), torch.float64)
    for scale in (1e-18, 1e-6, 1e3, 1e8):
        rest = (2, 1e-5, False, False)
        exact = by_reference((x * scale, weight, None), *rest)[0]
        for _ in each_kernel():
            own = ICON((x * scale).float(), weight.float(), None, *rest)
            assert (own - exact).abs().max() <= 1e-4 * exact.abs().max()


def test_operations_pass_opcheck(each_kernel):
    x, weight, bias = arguments((3, 4, 8, 3, 5))
    for _ in each_kernel():
        torch.library.opcheck(ICON_BACKWARD, (x.flip(0), x, weight, bias, 4, 1e-5, True, False))
        given = (t.clone().requires_grad_() for t in (x, weight, bias))
        torch.library.opcheck(ICON, (*given, 4, 1e-5, True, False))


def test_who_has_no_kernel_takes_batched_products(isas, each_isa, monkeypatch):
    monkeypatch.setattr(_cpu, "WORTH_A_KERNEL", 0)
    x, _, _ = arguments((1, 2, 16, 2, 2))
    for isa in each_isa():
        assert (_cpu._kernels(x, 2) is None) == (isa == "scalar" or isa == "neon")
    native.use_isa(isas[0])
    assert _cpu._kernels(x.double(), 2) is None and _cpu._kernels(x[:0], 2) is None
    assert _cpu._kernels(arguments((1, 2, 7, 2, 2))[0], 2) is None, "too few tokens a head"
    assert _cpu._kernels(arguments((1, 1, 257, 2, 2))[0], 1) is None, "too many"
    monkeypatch.setattr(native, "load", lambda: False)
    assert _cpu._kernels(x, 2) is None


def test_wrong_operands_are_refused(each_kernel):
    x, weight, bias = arguments((1, 2, 16, 2, 2))
    kernel, options = torch.ops.semicon_fast._icon_attention, (2, 1e-5, False, False)
    for _ in each_kernel():
        for given in (
            (x.double(), weight, bias), (x[:, :, ::2], weight, bias), (x, weight[:-1], bias),
            (x, weight, bias[1:]), (x[0], weight, bias), (x[:, :8], weight, bias),
        ):  # fmt: skip
            with pytest.raises(ValueError, match="_icon_attention: "):
                kernel(*given, *options)
