"""ICON's block on a CUDA device: BatchNorm and ReLU inside its kernels against the modules."""

import copy
import itertools

import pytest
import torch

from semicon_fast import ICON, ops, reference

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
]

LAYOUTS = [torch.contiguous_format, torch.channels_last]
# Images, dim, heads, map.
SHAPES = [
    (16, 2048, 32, (7, 7)),
    (4, 512, 16, (14, 14)),
    (3, 96, 8, (9, 9)),
    (2, 160, 2, (5, 7)),
    (2, 256, 1, (4, 4)),
]


@pytest.fixture(autouse=True)
def plain_float32():
    """The rule of two compares with float32 products, not with TF32 ones."""
    before = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    yield
    torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = before


def block(dim, heads, variant):
    """An ICON whose logits stay away from 0 in both steps, where the signed root jumps.

    A channel is rectified everywhere or nowhere: where roundings decide, they are the error.
    """
    generator = torch.Generator().manual_seed(0)
    icon = ICON(dim, heads, variant=variant)
    with torch.no_grad():
        for convolution in (icon.qkv, icon.qkv2):
            sign = (torch.rand(3 * dim, generator=generator) - 0.5).sign()
            weight = torch.rand(convolution.weight.shape, generator=generator) + 0.1
            weight = weight / weight.shape[1] * sign.view(-1, 1, 1, 1)
            convolution.weight.copy_(weight)
            convolution.bias.copy_((torch.rand(3 * dim, generator=generator) + 0.1) * sign)
        for name, value in icon.norm.state_dict().items():
            if value.is_floating_point():
                value.copy_(torch.rand(dim, generator=generator) + (name == "running_var") - 0.3)
        icon.norm.bias.copy_(8 * icon.norm.bias.sign())
    return icon.cuda()


def maps(images, dim, size, layout=torch.contiguous_format):
    generator = torch.Generator().manual_seed(1)
    grad, x = (torch.rand(images, dim, *size, generator=generator).cuda() for _ in range(2))
    return (grad - 0.5).to(memory_format=layout), (3 * x + 1).to(memory_format=layout)


def results(icon, grad, x, half=False):
    x = x.detach().requires_grad_()
    with torch.autocast("cuda", torch.bfloat16, enabled=half):
        out = icon(x)
    grads = torch.autograd.grad(out, [x, *icon.parameters()], grad.to(out.dtype))
    return out.detach(), *grads, icon.norm.running_mean, icon.norm.running_var


def cases():
    """Every shape in training and not, in both precisions; the first, the network's own, by both
    variants in both layouts, the others by one or the other: each is another kernel to compile."""
    for place, shape in enumerate(SHAPES):
        for at in itertools.product(range(2), repeat=4):
            variant, train, half, layout = ("paper", "official")[at[0]], *at[1:3], LAYOUTS[at[3]]
            marks = pytest.mark.slow if place and (at[0] + at[3] + place) % 2 else []
            yield pytest.param(shape, variant, bool(train), bool(half), layout, marks=marks)


@pytest.mark.parametrize(("shape", "variant", "train", "half", "layout"), list(cases()))
def test_block_is_as_good_as_the_modules(monkeypatch, shape, variant, train, half, layout):
    images, dim, heads, size = shape
    icon = block(dim, heads, variant).train(train)
    grad, x = maps(images, dim, size, layout)
    assert ops.loads_norm(x, max(heads, dim // heads))
    own = results(copy.deepcopy(icon), grad, x, half)
    monkeypatch.setattr(ops, "loads_norm", lambda *_: False)
    monkeypatch.setenv("SEMICON_FAST_BACKEND", "reference")
    torchs = results(copy.deepcopy(icon), grad, x, half)
    truth = results(copy.deepcopy(icon).double(), grad.double(), x.double())
    for ours, plain, exact in zip(own, torchs, truth, strict=True):
        assert ours.dtype == plain.dtype
        allowed = 2 * (plain - exact).norm() + torch.finfo(ours.dtype).eps * exact.norm()
        assert (ours - exact).norm() <= allowed


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("own", [False, True])
def test_step_that_rectifies_some_cells_is_as_good_as_the_reference(own, dtype):
    icon, (grad, x) = block(64, 4, "official"), maps(3, 64, (9, 9))
    grad, x, weight, bias = (t.to(dtype) for t in (grad, x, icon.qkv.weight, icon.qkv.bias))
    variance, mean = torch.var_mean(x.float(), (0, 2, 3), correction=0)
    vectors = mean, variance, icon.norm.weight.detach(), icon.norm.bias.detach() / 40
    results = []
    for wide, package in ((None, torch.ops.semicon_fast), (None, reference), (64, reference)):
        given = [t.detach() for t in (x, *vectors, weight, bias)]
        given = [t.double() for t in given] if wide else given
        rest = *given, 4, 1e-5, True, True, 1e-5, own
        g = grad.double() if wide else grad
        backward = package.icon_attention_normed_backward(g, *rest)
        results.append((package.icon_attention_normed(*rest), *backward))
    for ours, plain, exact in zip(*results, strict=True):
        allowed = 2 * (plain - exact).norm() + torch.finfo(ours.dtype).eps * exact.norm()
        assert (ours - exact).norm() <= allowed


@pytest.mark.parametrize("half", [False, True])
def test_repeated_training_steps_give_the_same_bits(half):
    icon, (grad, x) = block(2048, 32, "official"), maps(16, 2048, (7, 7))
    first = results(copy.deepcopy(icon), grad, x, half)
    for _ in range(20):
        assert all(map(torch.equal, results(copy.deepcopy(icon), grad, x, half), first))


def test_opcheck_on_the_device():
    _, x = maps(2, 64, (3, 5))
    icon = block(64, 4, "paper")
    step = icon.qkv.weight, icon.qkv.bias, 4, 1e-5, False, False
    torch.library.opcheck(torch.ops.semicon_fast.icon_attention_moments.default, (x, *step))
    norm = icon.norm.running_mean, icon.norm.running_var, icon.norm.weight, icon.norm.bias
    for own in (False, True):
        given = (x.requires_grad_(), *norm, *step, 1e-5, own)
        torch.library.opcheck(torch.ops.semicon_fast.icon_attention_normed.default, given)


@pytest.mark.parametrize("train", [False, True])
def test_compiled_by_inductor_equals_eager(train):
    icon, (grad, x) = block(64, 4, "paper").train(train), maps(4, 64, (7, 7))
    eager = results(copy.deepcopy(icon), grad, x)
    compiled = torch.compile(icon, fullgraph=True)
    out = compiled(x.requires_grad_())
    grads = torch.autograd.grad(out, [x, *icon.parameters()], grad)
    own = out.detach(), *grads, icon.norm.running_mean, icon.norm.running_var
    for ours, other in zip(own, eager, strict=True):
        torch.testing.assert_close(ours, other, rtol=1e-4, atol=1e-4)


def test_a_cuda_graph_replays_the_block_in_evaluation_and_in_training():
    for train in (False, True):
        icon, (_, x) = block(64, 4, "official").train(train), maps(4, 64, (7, 7))
        with torch.no_grad():
            icon(x)
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph):
                captured = icon(x)
            x.mul_(0.5)
            graph.replay()
            assert torch.equal(captured, icon(x))
