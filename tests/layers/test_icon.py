"""ICON: the released module written again, who reads whom, the order of the channels."""

import math

import pytest
import torch
from torch import nn

from semicon_fast.layers import ICON


class ReleasedStyle(nn.Module):
    """The released network's block from its description: in-place ReLU, three reshapes."""

    def __init__(self, dim, heads):
        super().__init__()
        self.dim, self.heads, self.tokens = dim, heads, dim // heads
        self.norm = nn.BatchNorm2d(dim)
        self.relu = nn.ReLU(inplace=True)
        self.qkv = nn.Conv2d(dim, 3 * dim, 1, groups=heads)
        self.qkv2 = nn.Conv2d(dim, 3 * dim, 1, groups=dim // heads)

    @staticmethod
    def attend(projected, heads):
        images, channels, height, width = projected.shape
        tokens = channels // 3 // heads
        stacked = projected.reshape(images, 3, heads, tokens, height * width).transpose(0, 1)
        q, k, v = stacked[0], stacked[1], stacked[2]
        scores = torch.einsum("bhip,bhjp->bhij", q, k) / math.sqrt(tokens)
        scores = torch.sign(scores) * torch.sqrt(torch.abs(scores) + 1e-5)
        return torch.einsum("bhij,bhjp->bhip", scores.softmax(-1), v)

    def forward(self, x):
        shape = x.shape
        first = self.attend(self.qkv(x), self.heads).reshape(shape) + x
        first = first.reshape(shape[0], self.heads, self.tokens, *shape[2:])
        y = self.norm(first.transpose(1, 2).reshape(shape))
        x = self.relu(y)
        second = self.attend(self.qkv2(x), self.tokens).transpose(1, 2)
        # y and x are one tensor by now: the second residual is the rectified one.
        return second.reshape(shape) + y


def scrambled(module, seed=0):
    """Random parameters and BatchNorm statistics, so that nothing is 0 or 1 by accident."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, value in module.state_dict().items():
            if value.is_floating_point():
                value.normal_(generator=generator)
                if name.endswith("running_var"):
                    value.abs_().add_(0.1)
    return module


def features(dim=24, batch=2, size=(3, 5), seed=1):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(batch, dim, *size, generator=generator)


@pytest.mark.parametrize("train", [False, True])
@pytest.mark.parametrize(("dim", "heads"), [(24, 6), (24, 3), (32, 16)])
def test_official_equals_the_released_block(dim, heads, train):
    released = scrambled(ReleasedStyle(dim, heads)).train(train)
    ours = ICON(dim, heads, variant="official").train(train)
    ours.load_state_dict(released.state_dict())
    results = []
    for module in (released, ours):
        x = features(dim).requires_grad_()
        out = module(x)
        (grad,) = torch.autograd.grad(out, x, features(dim, seed=2))
        results.append((out, grad, module.norm.running_mean))
    for theirs, own in zip(*results, strict=True):
        torch.testing.assert_close(own, theirs, rtol=1e-4, atol=1e-4)


def test_paper_and_official_have_one_state_dict_and_differ():
    paper, official = scrambled(ICON(24, 6)).eval(), ICON(24, 6, variant="official").eval()
    official.load_state_dict(paper.state_dict())
    assert {name.partition(".")[0] for name in paper.state_dict()} == {"norm", "qkv", "qkv2"}
    assert not torch.allclose(paper(features()), official(features()), atol=0.1)


def silenced(icon):
    """Attention that adds nothing, BatchNorm that changes nothing."""
    with torch.no_grad():
        for convolution in (icon.qkv, icon.qkv2):
            if convolution is not None:
                convolution.weight.zero_()
                convolution.bias.zero_()
    if icon.norm is not None:
        icon.norm.eps = 0.0
    return icon.eval()


def test_channel_order_is_reset_by_the_paper_and_not_by_the_released_residual():
    heads, tokens = 6, 4
    x = features(24).abs()
    assert torch.equal(silenced(ICON(24, heads))(x), x)
    assert torch.equal(silenced(ICON(24, heads, steps=1))(x), x)
    official = silenced(ICON(24, heads, variant="official"))(x)
    order = [(c % heads) * tokens + c // heads for c in range(24)]
    assert sorted(order) == list(range(24)) and order != list(range(24))
    assert torch.equal(official, x[:, order])


def test_released_permutation_is_the_documented_bijection():
    # 2048 channels, 32 heads of 64: channel h*64 + j goes to j*32 + h.
    x = torch.arange(1.0, 2049).view(1, 2048, 1, 1)
    y = silenced(ICON(2048, 32, variant="official"))(x).flatten()
    for head, token in [(0, 0), (1, 0), (31, 63), (5, 17)]:
        assert y[token * 32 + head] == x.flatten()[head * 64 + token]
    assert sorted(y.tolist()) == x.flatten().tolist()


def test_one_step_has_only_its_own_parameters_and_mixes_only_within_groups():
    icon = scrambled(ICON(24, 6, steps=1))
    assert set(icon.state_dict()) == {"qkv.weight", "qkv.bias"}
    x = features().requires_grad_()
    (grad,) = torch.autograd.grad(icon(x)[:, 8:12].square().sum(), x)
    reached = grad.view(2, 6, -1).abs().amax((0, 2)).nonzero().flatten().tolist()
    assert reached == [2]


def test_two_steps_let_every_channel_see_every_other():
    icon = ICON(24, 6).eval()
    # Far from the ReLU's zero, where no gradient passes.
    icon.norm.bias.data.fill_(10.0)
    x = features().requires_grad_()
    (grad,) = torch.autograd.grad(icon(x)[:, 0].square().sum(), x)
    # Step 2 mixes one channel of each group, each of which has seen its whole group.
    assert bool((grad.abs().amax((0, 2, 3)) > 0).all())


def test_delta_reaches_both_steps():
    icon = scrambled(ICON(24, 6)).eval()
    before = icon(features())
    icon.delta = 1.0
    assert not torch.allclose(before, icon(features()))


def test_initial_weights_follow_the_recipe():
    torch.random.manual_seed(0)
    icon = ICON(512, 16)
    assert icon.qkv.weight.std().item() == pytest.approx(math.sqrt(2 / 1536), rel=0.05)
    bound = 1 / math.sqrt(512 / 16)
    assert 0.9 * bound < icon.qkv.bias.abs().max().item() <= bound
    assert torch.equal(icon.norm.weight, torch.ones(512))
    with torch.device("meta"):
        assert sum(p.numel() for p in ICON(2048, 32).parameters()) == 606_208


def test_compiled_and_autocast_modules_give_the_eager_values():
    icon = scrambled(ICON(24, 6)).eval()
    compiled = torch.compile(icon, backend="aot_eager", fullgraph=True)
    torch.testing.assert_close(compiled(features()), icon(features()))
    with torch.autocast("cpu", torch.bfloat16):
        assert compiled(features()).dtype is icon(features()).dtype is torch.bfloat16


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"dim": 24, "num_heads": 5}, "divide dim 24, got 5"),
        ({"dim": 24, "num_heads": 0}, "must be positive"),
        ({"dim": 24, "num_heads": 6, "steps": 3}, "steps must be 1 or 2, got 3"),
        ({"dim": 24, "num_heads": 6, "delta": -1.0}, "delta must be at least 0"),
        ({"dim": 24, "num_heads": 6, "variant": "fast"}, "one of paper, official, got 'fast'"),
    ],
)
def test_bad_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        ICON(**arguments)


def test_features_of_another_width_are_refused():
    with pytest.raises(ValueError, match="weight must be"):
        ICON(24, 6)(features(48))
