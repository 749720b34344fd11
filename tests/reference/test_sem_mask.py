"""The mask of the paper's Eq. 8, checked by closed forms and by its own invariants."""

import pytest
import torch

from semicon_fast import reference

OPTIONS = [
    (alpha, per_batch, clamp)
    for alpha in (0.0, 0.3, 1.0)
    for per_batch in (False, True)
    for clamp in (False, True)
]


def mask(score, alpha=0.3, per_batch=False, clamp=False):
    """The factor f itself: the mask applied to ones."""
    return reference.sem_mask(torch.ones_like(score), score, alpha, per_batch, clamp, False)


def random_scores(batch=3, height=5, width=7, dtype=torch.float64, scale=2.0, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return scale * torch.randn(batch, 1, height, width, generator=generator, dtype=dtype)


@pytest.mark.parametrize(("alpha", "per_batch", "clamp"), OPTIONS)
def test_values_are_those_of_the_equation(alpha, per_batch, clamp):
    score = random_scores()
    guidance = torch.randn(3, 4, 5, 7, dtype=torch.float64, generator=torch.Generator())
    a = score.flatten(1).softmax(1).view_as(score)
    deviation = a.std() if per_batch else a.flatten(1).std(dim=1).view(3, 1, 1, 1)
    f = 1 - (a - a.mean()) / deviation**alpha
    if clamp:
        f = 2 - ((a - a.mean()) / deviation**alpha + 1).clamp(0, 2)
    got = reference.sem_mask(guidance, score, alpha, per_batch, clamp, True)
    torch.testing.assert_close(got, f * guidance, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    ("alpha", "peak", "other"),
    [(0.15, -0.478, 1.00758), (0.3, -1.196, 1.01126), (1.0, -12.929, 1.0714)],
)
def test_one_hot_map_has_the_closed_form_values(alpha, peak, other):
    score = torch.zeros(1, 1, 14, 14)
    score[0, 0, 3, 5] = 500
    f = mask(score, alpha)
    assert f[0, 0, 3, 5].item() == pytest.approx(peak, abs=5e-4)
    assert f[0, 0, 0, 0].item() == pytest.approx(other, abs=5e-5)
    assert mask(score, alpha, clamp=True)[0, 0, 3, 5].item() == 0


def test_mean_of_the_unclamped_mask_is_one():
    f = mask(random_scores(), alpha=0.3)
    torch.testing.assert_close(f.mean((2, 3)), torch.ones(3, 1, dtype=f.dtype))


def test_mask_falls_where_attention_rises():
    score = random_scores(batch=1).flatten()
    order = score.argsort()
    f = mask(score.view(1, 1, 5, 7)).flatten()[order]
    assert bool((f.diff() < 0).all())


def test_alpha_zero_subtracts_and_alpha_one_standardises():
    score = random_scores(batch=1)
    a = score.flatten(1).softmax(1).view_as(score)
    torch.testing.assert_close(mask(score, 0.0), 1 - (a - 1 / 35))
    torch.testing.assert_close(mask(score, 1.0), 1 - (a - a.mean()) / a.std())


@pytest.mark.parametrize("per_batch", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("size", [(14, 14), (7, 7), (3, 5), (1, 1), (12, 12), (13, 11)])
def test_flat_maps_leave_the_guidance_exactly_alone(per_batch, dtype, size):
    guidance = torch.randn(2, 3, *size, generator=torch.Generator()).to(dtype).requires_grad_()
    score = torch.full((2, 1, *size), 1.7, dtype=dtype, requires_grad=True)
    out = reference.sem_mask(guidance, score, 0.3, per_batch, False, False)
    assert torch.equal(out, guidance)
    out.sum().backward()
    assert torch.equal(guidance.grad, torch.ones_like(guidance))
    assert torch.equal(score.grad, torch.zeros_like(score))


def test_a_flat_image_beside_a_varied_one_stays_flat_only_per_image():
    score = random_scores(batch=2)
    score[0] = 0
    assert torch.equal(mask(score)[0], torch.ones_like(score[0]))
    assert bool(torch.isfinite(mask(score, per_batch=True)).all())


def test_per_image_masks_do_not_see_the_batch_and_batch_masks_do():
    score = random_scores(batch=4)
    assert torch.equal(mask(score)[1:2], mask(score[1:2]))
    assert not torch.allclose(mask(score, per_batch=True)[1:2], mask(score[1:2], per_batch=True))


def test_clamped_mask_stays_within_zero_and_two():
    f = mask(random_scores(scale=30.0), alpha=1.0, clamp=True)
    assert f.min() == 0
    assert f.max() <= 2


def test_detached_mask_sends_no_gradient_to_the_score():
    guidance = torch.ones(3, 2, 5, 7, dtype=torch.float64, requires_grad=True)
    score = random_scores().requires_grad_()
    reference.sem_mask(guidance, score, 0.3, False, False, True).sum().backward()
    assert score.grad is None
    assert guidance.grad is not None
    reference.sem_mask(guidance, score, 0.3, False, False, False).square().sum().backward()
    assert score.grad is not None and score.grad.abs().max() > 0


@pytest.mark.parametrize("detach", [False, True])
@pytest.mark.parametrize(("alpha", "per_batch", "clamp"), OPTIONS)
def test_written_gradient_equals_autograd(alpha, per_batch, clamp, detach):
    score = random_scores().requires_grad_()
    guidance = torch.randn(3, 4, 5, 7, dtype=torch.float64, generator=torch.Generator())
    guidance.requires_grad_()
    options = (alpha, per_batch, clamp, detach)
    out = reference.sem_mask(guidance, score, *options)
    cotangent = random_scores(seed=2).expand(3, 4, 5, 7)
    expected = torch.autograd.grad(out, (guidance, score), cotangent, materialize_grads=True)
    with torch.no_grad():
        got = reference.sem_mask_backward(cotangent, guidance, score, *options)
    for ours, truth in zip(got, expected, strict=True):
        torch.testing.assert_close(ours, truth, rtol=1e-10, atol=1e-12)


def test_half_precision_inputs_are_computed_in_float32():
    score = random_scores(dtype=torch.float32).bfloat16()
    guidance = torch.randn(3, 4, 5, 7, generator=torch.Generator()).bfloat16()
    got = reference.sem_mask(guidance, score, 0.3, False, False, False)
    wide = reference.sem_mask(guidance.float(), score.float(), 0.3, False, False, False)
    assert torch.equal(got, wide.bfloat16())
