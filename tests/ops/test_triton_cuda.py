"""Triton kernels of ICON and SEM on a CUDA device: exact enough, repeatable, graphs, compiled."""

import math

import pytest
import torch
from combinations import pairwise

from semicon_fast import ops, reference

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
]

ICON = torch.ops.semicon_fast.icon_attention.default
SEM = torch.ops.semicon_fast.sem_mask.default
DTYPES = [torch.float32, torch.bfloat16, torch.float16]
LAYOUTS = [torch.contiguous_format, torch.channels_last]
VARIANTS = [(False, False), (True, True)]
SHAPES = [
    (16, 32, 64, (7, 7)),
    (16, 64, 32, (7, 7)),
    (3, 4, 8, (4, 4)),
    (2, 4, 12, (9, 9)),
    (2, 3, 48, (10, 10)),
    (2, 2, 96, (12, 12)),
    (2, 2, 128, (7, 7)),
    (1, 2, 256, (14, 14)),
    (2, 2, 64, (32, 32)),
    (2, 5, 1, (1, 3)),
]


@pytest.fixture(autouse=True)
def plain_float32():
    """The rule of two compares with float32 products, not with TF32 ones."""
    before = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    yield
    torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = before


def icon_inputs(images, heads, tokens, size, dtype, layout=torch.contiguous_format):
    """grad, x, weight, bias whose logits stay away from 0, where the signed root jumps."""
    generator = torch.Generator().manual_seed(0)
    channels = heads * tokens

    def draw(*shape):
        return torch.rand(*shape, generator=generator)

    sign = (draw(3 * channels) - 0.5).sign()
    x = draw(images, channels, *size) + 0.5
    weight = (draw(3 * channels, tokens) + 0.1) * sign[:, None] / tokens
    grad = torch.randn(x.shape, generator=generator)
    maps = [t.to("cuda", dtype).to(memory_format=layout) for t in (grad, x)]
    weight = weight.view(3 * channels, tokens, 1, 1)
    return *maps, *(t.to("cuda", dtype) for t in (weight, draw(3 * channels) * sign))


def sem_inputs(images, channels, size, dtype, layout=torch.contiguous_format):
    generator = torch.Generator().manual_seed(0)

    def draw(channels):
        value = torch.randn(images, channels, *size, generator=generator)
        return value.to("cuda", dtype).to(memory_format=layout)

    return draw(channels), draw(channels), 3 * draw(1)


def with_gradients(operation, grad, *tensors):
    leaves = [t.detach().requires_grad_() for t in tensors]
    out = operation(*leaves)
    return out.detach(), *torch.autograd.grad(out, leaves, grad)


def assert_as_good_as_torch(native, plain, grad, *tensors):
    own = with_gradients(native, grad, *tensors)
    truth = with_gradients(plain, grad.double(), *(t.double() for t in tensors))
    torchs = with_gradients(plain, grad, *tensors)
    for ours, theirs, exact in zip(own, torchs, truth, strict=True):
        assert ours.dtype == theirs.dtype
        allowed = 2 * (theirs - exact).norm() + torch.finfo(ours.dtype).eps * exact.norm()
        assert (ours - exact).norm() <= allowed


@pytest.mark.parametrize(
    ("shape", "variant", "dtype", "layout"), pairwise(SHAPES, VARIANTS, DTYPES, LAYOUTS)
)
def test_icon_is_as_good_as_the_reference(shape, variant, dtype, layout):
    options = (shape[1], 1e-5, *variant)
    assert_as_good_as_torch(
        lambda *t: ops.icon_attention(*t, *options),
        lambda *t: reference.icon_attention(*t, *options),
        *icon_inputs(*shape, dtype, layout),
    )


@pytest.mark.parametrize(
    ("shape", "switches", "dtype", "layout"),
    pairwise(
        [(16, 64, (14, 14)), (3, 5, (7, 7)), (2, 3, (64, 64))],
        [(False, False), (True, True), (True, False)],
        DTYPES,
        LAYOUTS,
    ),
)
def test_sem_is_as_good_as_the_reference(shape, switches, dtype, layout):
    options = (0.3, *switches, False)
    assert_as_good_as_torch(
        lambda *t: ops.sem_mask(*t, *options),
        lambda *t: reference.sem_mask(*t, *options),
        *sem_inputs(*shape, dtype, layout),
    )


@pytest.mark.parametrize("value", [0.0, 7.3, -1e4])
@pytest.mark.parametrize("cells", [1, 3, 49, 196, 1000])
def test_flat_maps_pass_guidance_unchanged(cells, value):
    _, guidance, _ = sem_inputs(2, 3, (1, cells), torch.float32)
    score = torch.full((2, 1, 1, cells), value, device="cuda", requires_grad=True)
    for per_batch in (False, True):
        out = ops.sem_mask(guidance, score, 0.3, per_batch)
        assert torch.equal(out, guidance)
        (grad,) = torch.autograd.grad(out.sum(), score)
        assert not grad.any()


@pytest.mark.parametrize("dtype", DTYPES)
def test_repeated_calls_give_the_same_bits(dtype):
    given = icon_inputs(16, 32, 64, (7, 7), dtype)
    guided = sem_inputs(200, 64, (14, 14), dtype)

    def run():
        return (
            *with_gradients(lambda *t: ops.icon_attention(*t, 32), *given),
            *with_gradients(lambda *t: ops.sem_mask(*t, 0.3, True), *guided),
        )

    first = run()
    for _ in range(20):
        assert all(map(torch.equal, run(), first))


def test_memory_that_is_not_aligned_and_windows_of_larger_maps():
    grad, x, weight, bias = icon_inputs(2, 4, 16, (7, 7), torch.bfloat16)
    expected = ops.icon_attention(x, weight, bias, 4)
    store = torch.full((x.numel() + 1,), float("nan"), dtype=x.dtype, device="cuda")
    store[1:] = x.flatten()
    assert torch.equal(ops.icon_attention(store[1:].view(x.shape), weight, bias, 4), expected)
    window = torch.full((2, 64, 8, 9), float("nan"), dtype=x.dtype, device="cuda")
    window[:, :, 1:, 2:] = x
    assert torch.equal(ops.icon_attention(window[:, :, 1:, 2:], weight, bias, 4), expected)


def test_opcheck_on_the_device():
    _, x, weight, bias = (t.requires_grad_() for t in icon_inputs(2, 4, 16, (3, 5), DTYPES[0]))
    torch.library.opcheck(ICON, (x, weight, bias, 4, 1e-5, False, True))
    _, guidance, score = (t.requires_grad_() for t in sem_inputs(2, 3, (3, 5), DTYPES[0]))
    torch.library.opcheck(SEM, (guidance, score, 0.3, True, False, False))


def test_compiled_by_inductor_equals_eager():
    grad, x, weight, bias = icon_inputs(4, 4, 16, (7, 7), torch.float32)

    def step(x, weight, bias):
        once = ops.icon_attention(x, weight, bias, 4)
        return ops.sem_mask(once.relu(), once.mean(1, keepdim=True), 0.3)

    compiled = torch.compile(step, fullgraph=True)
    eager = with_gradients(step, grad, x, weight, bias)
    for own, other in zip(with_gradients(compiled, grad, x, weight, bias), eager, strict=True):
        torch.testing.assert_close(own, other, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_cuda_graph_replays_values_and_gradients(dtype):
    grad, x, weight, bias = icon_inputs(4, 4, 64, (7, 7), dtype)
    guidance, score = sem_inputs(4, 8, (7, 7), dtype)[1:]

    def run():
        icon = torch.ops.semicon_fast.icon_attention_backward(
            grad, x, weight, bias, 4, 1e-5, True, True
        )
        return *icon, ops.icon_attention(x, weight, bias, 4), ops.sem_mask(guidance, score, 0.3)

    run()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        captured = run()
    x.mul_(0.5)
    guidance.neg_()
    graph.replay()
    assert all(map(torch.equal, captured, run()))


def test_a_bias_with_strides_is_read_as_it_is():
    _, x, weight, bias = icon_inputs(2, 4, 16, (7, 7), torch.float32)
    strided = torch.full((2 * len(bias),), float("nan"), device="cuda")[::2].copy_(bias)
    expected = ops.icon_attention(x, weight, bias, 4)
    assert torch.equal(ops.icon_attention(x, weight, strided, 4), expected)


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="one device")
def test_the_device_of_the_tensors_is_used_not_the_current_one():
    _, x, weight, bias = icon_inputs(2, 4, 16, (7, 7), torch.float32)
    there = ops.icon_attention(*(t.to("cuda:1") for t in (x, weight, bias)), 4)
    assert torch.equal(there.cpu(), ops.icon_attention(x, weight, bias, 4).cpu())


@pytest.mark.slow
def test_offsets_beyond_two_to_the_31():
    images, heads, tokens = 45_000, 32, 32
    needed = images * heads * tokens * 49
    assert needed > 2**31
    if torch.cuda.get_device_properties(0).total_memory < 16 * needed:
        pytest.skip("needs 36 GB of device memory")
    _, x, weight, bias = icon_inputs(1, heads, tokens, (7, 7), torch.bfloat16)
    out = ops.icon_attention(x.repeat(images, 1, 1, 1), weight, bias, heads)
    assert torch.equal(out[-1:], ops.icon_attention(x, weight, bias, heads))
    assert math.isfinite(out[-1].float().sum().item())
