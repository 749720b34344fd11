"""Operands whose elements do not lie side by side give what contiguous ones give, bit for bit."""

import os

import pytest
import torch

if os.environ.get("TRITON_INTERPRET") != "1":
    pytest.skip("run by test_interpreted.py", allow_module_level=True)

from semicon_fast.kernels.icon_attention import icon_attention_fwd
from semicon_fast.kernels.icon_attention_backward import icon_attention_bwd
from semicon_fast.kernels.icon_norm import Norm
from semicon_fast.kernels.sem_mask import sem_mask_fwd
from semicon_fast.kernels.sem_mask_backward import sem_mask_bwd

IMAGES, HEADS, TOKENS, SIZE = 1, 2, 3, (3, 5)
CHANNELS = HEADS * TOKENS
STEP = (HEADS, 1e-5, True, True)


def draw(seed, *shape):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed)) + 0.5


def spread(value):
    """The same values, two elements of memory apart along every axis; NaN lies between them."""
    wide = torch.full([2 * size for size in value.shape], float("nan"))
    view = wide[(slice(None, None, 2),) * value.dim()]
    return view.copy_(value)


ICON = {
    "grad": draw(1, IMAGES, CHANNELS, *SIZE),
    "x": draw(2, IMAGES, CHANNELS, *SIZE),
    "weight": draw(3, 3 * CHANNELS, TOKENS, 1, 1),
    "bias": draw(4, 3 * CHANNELS),
}
VECTORS = {name: draw(5 + i, CHANNELS) for i, name in enumerate(Norm._fields[:4])}
MASK = {
    "grad": draw(9, IMAGES, CHANNELS, *SIZE),
    "guidance": draw(10, IMAGES, CHANNELS, *SIZE),
    "score": 3 * draw(11, IMAGES, 1, *SIZE),
}


def icon(grad, x, weight, bias, norm=None):
    """Output, moments and gradients of a step, with `norm` those of scale and shift too."""
    out, moments = torch.empty(ICON["x"].shape), torch.empty(2, IMAGES, CHANNELS)
    icon_attention_fwd(out, x, weight, bias, *STEP, norm, moments)
    shapes = ICON["x"].shape, ICON["weight"].shape, ICON["bias"].shape
    grads = [torch.empty(shape) for shape in shapes]
    d_norm = torch.zeros(2, CHANNELS)
    given = (norm, d_norm, True) if norm else ()
    icon_attention_bwd(*grads, grad, x, weight, bias, *STEP, *given)
    return out, moments, *grads, d_norm


def normed(mean, variance, scale, shift):
    return icon(**ICON, norm=Norm(mean, variance, scale, shift, 1e-3))


def mask(grad, guidance, score, per_batch):
    out, d_guidance = torch.empty(guidance.shape), torch.empty(guidance.shape)
    d_score = torch.empty(score.shape)
    sem_mask_fwd(out, guidance, score, 0.3, per_batch, True)
    sem_mask_bwd(d_guidance, d_score, grad, guidance, score, 0.3, per_batch, True, False)
    return out, d_guidance, d_score


def mask_of_image(**given):
    return mask(**given, per_batch=False)


def mask_of_batch(**given):
    return mask(**given, per_batch=True)


# Vectors come without strides to the kernels; maps have theirs beside them.
CASES = [
    pytest.param(run, given, name, marks=[] if name in ("bias", *VECTORS) else pytest.mark.slow)
    for run, given in (
        (icon, ICON), (normed, VECTORS), (mask_of_image, MASK), (mask_of_batch, MASK)
    )
    for name in given
]  # fmt: skip


@pytest.mark.parametrize(("run", "given", "name"), CASES)
def test_an_operand_may_have_any_strides(run, given, name):
    expected = run(**given)
    assert all(bool(value.isfinite().all()) for value in expected)
    strided = run(**{**given, name: spread(given[name])})
    assert all(map(torch.equal, strided, expected))


@pytest.mark.parametrize("name", ["bias", pytest.param("weight", marks=pytest.mark.slow)])
def test_one_value_for_all_channels_may_be_expanded(name):
    expanded = torch.full((), 0.5).expand(ICON[name].shape)
    expected = icon(**{**ICON, name: expanded.contiguous()})
    assert all(map(torch.equal, icon(**{**ICON, name: expanded}), expected))


def test_gradients_of_scale_and_shift_may_be_written_with_strides():
    norm = Norm(*VECTORS.values(), 1e-3)
    expected = icon(**ICON, norm=norm)
    d_norm = spread(torch.zeros(2, CHANNELS))
    grads = [torch.empty_like(value) for value in expected[2:5]]
    icon_attention_bwd(*grads, *ICON.values(), *STEP, norm, d_norm, True)
    assert torch.equal(d_norm, expected[5]) and torch.equal(grads[0], expected[2])


def test_an_output_that_has_no_single_step_from_cell_to_cell_is_refused():
    window = torch.full((IMAGES, CHANNELS, SIZE[0] + 1, SIZE[1] + 2), 7.0)
    out = window[:, :, 1:, 2:]
    with pytest.raises(ValueError, match="output must have one stride from cell to cell"):
        icon_attention_fwd(out, *list(ICON.values())[1:], *STEP)
    with pytest.raises(ValueError, match="output must have one stride from cell to cell"):
        sem_mask_fwd(out, MASK["guidance"], MASK["score"], 0.3, False, True)
    assert bool((window == 7).all())
