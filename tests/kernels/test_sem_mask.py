"""SEM's kernels against the reference: statistics of an image or a batch, guards, gradients."""

import itertools
import os

import pytest
import torch

from semicon_fast import reference

if os.environ.get("TRITON_INTERPRET") != "1":
    pytest.skip("run by test_interpreted.py", allow_module_level=True)

from semicon_fast.kernels.sem_mask import sem_mask_fwd, unsupported
from semicon_fast.kernels.sem_mask_backward import sem_mask_bwd

DTYPES = [torch.float32, torch.bfloat16, torch.float16]
LAYOUTS = [torch.contiguous_format, torch.channels_last]
# (per_batch, clamp, detach): the paper, the released code, and what lies between.
PAPER, RELEASED = (False, False, False), (True, True, True)
SWITCHES = [PAPER, RELEASED, (True, True, False), (True, False, False), (False, True, False)]
# Images, channels, map.
SHAPES = [
    (3, 5, (7, 7)),
    (2, 19, (14, 14)),
    (2, 3, (32, 32)),
    (1, 64, (4, 4)),
    (2, 4, (1, 3)),
    (1, 2, (9, 9)),
]


def one_in(turns, *axes):
    """All combinations, and slow are those whose places along the axes do not add up to a multiple
    of `turns`, the length of the last axis: each combination of the others is left once.
    """
    for places in itertools.product(*(range(len(axis)) for axis in axes)):
        values = [axis[place] for axis, place in zip(axes, places, strict=True)]
        yield pytest.param(*values, marks=pytest.mark.slow if sum(places) % turns else [])


def inputs(images, channels, size, dtype, layout=torch.contiguous_format, seed=0):
    """grad, guidance, score; scores wide enough that the clamp has something to cut."""
    generator = torch.Generator().manual_seed(seed)

    def draw(channels):
        value = torch.randn(images, channels, *size, generator=generator)
        return value.to(dtype).to(memory_format=layout)

    return draw(channels), draw(channels), 3 * draw(1)


def launched(guarded, grad, guidance, score, alpha, per_batch, clamp, detach):
    grad, guidance, score = (guarded(t) for t in (grad, guidance, score))
    nan = float("nan")
    out = guarded(guidance, nan)
    sem_mask_fwd(out, guidance, score, alpha, per_batch, clamp)
    grads = guarded(guidance, nan), guarded(score.contiguous(), nan)
    sem_mask_bwd(*grads, grad, guidance, score, alpha, per_batch, clamp, detach)
    return out, *grads


def check(guarded, as_good_as_torch, given, options):
    own = launched(guarded, *given, *options)
    results = []
    for dtype in (given[0].dtype, torch.float64):
        grad, *rest = (t.to(dtype) for t in given)
        out = reference.sem_mask(*rest, *options)
        results.append((out, *reference.sem_mask_backward(grad, *rest, *options)))
    for ours, plain, truth in zip(own, *results, strict=True):
        as_good_as_torch(ours, plain, truth)


@pytest.mark.parametrize(("shape", "switches", "dtype"), one_in(3, SHAPES, SWITCHES, DTYPES))
def test_values_and_gradients_equal_the_reference(
    guarded, as_good_as_torch, shape, switches, dtype
):
    check(guarded, as_good_as_torch, inputs(*shape, dtype), (0.3, *switches))


@pytest.mark.parametrize(("switches", "alpha"), one_in(3, SWITCHES[:3], [0.0, 0.15, 1.0]))
def test_channels_last_and_every_exponent(guarded, as_good_as_torch, switches, alpha):
    given = inputs(2, 19, (7, 7), torch.float32, torch.channels_last)
    assert given[1].stride(1) == 1
    check(guarded, as_good_as_torch, given, (alpha, *switches))


def test_the_clamp_cuts_and_stops_the_gradient():
    guidance = torch.ones(1, 1, 2, 7)
    score = torch.zeros(1, 1, 2, 7)
    score[..., 3] = 9.0
    out = torch.empty_like(guidance)
    sem_mask_fwd(out, guidance, score, 1.0, False, True)
    assert out[0, 0, 0, 3] == 0.0
    grads = torch.empty_like(guidance), torch.empty_like(score)
    grad = torch.zeros_like(guidance)
    grad[0, 0, 0, 3] = 1.0
    sem_mask_bwd(*grads, grad, guidance, score, 1.0, False, True, False)
    assert not grads[1].any()
    sem_mask_bwd(*grads, grad, guidance, score, 1.0, False, False, False)
    assert grads[1].any()


@pytest.mark.parametrize(("cells", "value"), one_in(3, [1, 3, 49, 196, 1000], [0.0, 7.3, -1e4]))
def test_flat_maps_pass_guidance_and_gradient_unchanged(cells, value):
    grad, guidance, _ = inputs(2, 3, (1, cells), torch.float32)
    score = torch.full((2, 1, 1, cells), value)
    for per_batch in (False, True):
        out = torch.empty_like(guidance)
        sem_mask_fwd(out, guidance, score, 0.3, per_batch, False)
        assert torch.equal(out, guidance)
        grads = torch.empty_like(guidance), torch.full_like(score, 9)
        sem_mask_bwd(*grads, grad, guidance, score, 0.3, per_batch, False, False)
        assert torch.equal(grads[0], grad) and not grads[1].any()


def test_a_flat_image_among_others_is_flat_alone_only():
    _, guidance, score = inputs(3, 2, (4, 4), torch.float32)
    score[1] = 2.0
    results = []
    for per_batch in (False, True):
        out = torch.empty_like(guidance)
        sem_mask_fwd(out, guidance, score, 0.3, per_batch, False)
        torch.testing.assert_close(
            out, reference.sem_mask(guidance, score, 0.3, per_batch, False, False)
        )
        results.append(out)
    assert torch.equal(results[0][1], guidance[1])
    assert not torch.equal(results[0][0], results[1][0])


def test_a_batch_over_one_block_of_images_is_summed_to_its_end(guarded, as_good_as_torch):
    given = inputs(131, 1, (2, 2), torch.float32)
    check(guarded, as_good_as_torch, given, (0.9, True, False, False))


def test_score_of_its_own_dtype_and_an_expanded_gradient(guarded, as_good_as_torch):
    _, guidance, score = inputs(2, 3, (3, 5), torch.bfloat16)
    score = score.float()
    grad = torch.ones((), dtype=torch.bfloat16).expand(guidance.shape)
    out = torch.empty_like(guidance)
    grads = torch.empty_like(guidance), torch.empty_like(score)
    sem_mask_fwd(out, guidance, score, 0.3, False, False)
    sem_mask_bwd(*grads, grad, guidance, score, 0.3, *PAPER)
    plain = reference.sem_mask_backward(grad, guidance, score, 0.3, *PAPER)
    torch.testing.assert_close(out, reference.sem_mask(guidance, score, 0.3, *PAPER))
    torch.testing.assert_close(grads[0], plain[0])
    torch.testing.assert_close(grads[1], plain[1])


def test_nan_is_not_hidden_by_the_clamp():
    _, guidance, score = inputs(2, 3, (3, 5), torch.float32)
    score[0, 0, 1, 1] = float("nan")
    out = torch.empty_like(guidance)
    sem_mask_fwd(out, guidance, score, 0.3, False, True)
    assert out[0].isnan().all() and out[1].isfinite().all()


def test_no_images_are_no_work():
    grad, guidance, score = inputs(0, 3, (3, 5), torch.float32)
    sem_mask_fwd(torch.empty_like(guidance), guidance, score, 0.3, True, False)
    sem_mask_bwd(grad.clone(), score.clone(), grad, guidance, score, 0.3, *SWITCHES[2])


def test_what_the_kernels_cannot_take_is_named():
    ok = torch.zeros(1, 1, 64, 64)
    assert unsupported(ok, ok) is None
    assert "float64" in unsupported(ok, ok.double())
    wide = torch.zeros(1, 1, 64, 65)
    assert "4160 cells per map" in unsupported(wide, wide)
