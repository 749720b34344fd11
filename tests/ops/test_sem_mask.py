"""The mask as an operation: dispatcher, gradients, compilation, layouts and refusals."""

import pytest
import torch

from semicon_fast import ops, reference

FORWARD = torch.ops.semicon_fast.sem_mask.default
BACKWARD = torch.ops.semicon_fast.sem_mask_backward.default
SWITCHES = [(False, False, False), (True, True, True), (True, False, False), (False, True, False)]


def inputs(batch=3, channels=4, size=(3, 5), dtype=torch.float32):
    generator = torch.Generator().manual_seed(0)
    guidance = torch.randn(batch, channels, *size, generator=generator, dtype=dtype)
    return guidance, torch.randn(batch, 1, *size, generator=generator, dtype=dtype)


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("switches", SWITCHES[:2])
def test_operation_passes_opcheck(switches, channels_last):
    guidance, score = inputs()
    if channels_last:
        guidance = guidance.to(memory_format=torch.channels_last)
    torch.library.opcheck(
        FORWARD, (guidance.clone().requires_grad_(), score.clone().requires_grad_(), 0.3, *switches)
    )
    torch.library.opcheck(BACKWARD, (torch.randn_like(guidance), guidance, score, 0.3, *switches))


@pytest.mark.parametrize("switches", SWITCHES)
def test_operation_equals_the_reference(switches):
    guidance, score = inputs()
    assert torch.equal(
        ops.sem_mask(guidance, score, 0.3, *switches),
        reference.sem_mask(guidance, score, 0.3, *switches),
    )


@pytest.mark.parametrize(("per_batch", "clamp"), [(False, False), (True, True), (True, False)])
def test_gradcheck(per_batch, clamp):
    guidance, score = (t.requires_grad_() for t in inputs(2, 2, (2, 3), torch.float64))
    assert torch.autograd.gradcheck(
        lambda g, s: ops.sem_mask(g, s, 0.3, per_batch, clamp), (guidance, score)
    )


def test_detached_score_gets_no_gradient():
    guidance, score = (t.requires_grad_() for t in inputs())
    ops.sem_mask(guidance, score, 0.3, detach=True).sum().backward()
    assert score.grad is None
    assert guidance.grad is not None


def compiled_equals_eager(backend):
    # A step that uses the operation twice, as two parts do.
    def step(guidance, score):
        once = ops.sem_mask(guidance, score, 0.3)
        return ops.sem_mask(once, once.mean(1, keepdim=True), 0.15, True, True, True)

    compiled = torch.compile(step, backend=backend, fullgraph=True)
    results = []
    for function in (step, compiled):
        guidance, score = (t.requires_grad_() for t in inputs())
        out = function(guidance, score)
        out.square().sum().backward()
        results.append((out.detach(), guidance.grad, score.grad))
    for eager, other in zip(*results, strict=True):
        torch.testing.assert_close(other, eager)


def test_compiled_equals_eager():
    compiled_equals_eager("aot_eager")


@pytest.mark.slow
def test_compiled_by_inductor_equals_eager():
    compiled_equals_eager("inductor")


def test_layout_of_the_guidance_is_kept():
    guidance, score = inputs()
    last = guidance.to(memory_format=torch.channels_last).requires_grad_()
    out = ops.sem_mask(last, score, 0.3)
    assert out.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(out, ops.sem_mask(guidance, score, 0.3))
    (grad,) = torch.autograd.grad(out.sum(), last)
    assert grad.is_contiguous(memory_format=torch.channels_last)


def test_slices_of_larger_tensors_and_single_images():
    guidance, score = inputs(batch=5, channels=7, size=(6, 9))
    whole = ops.sem_mask(guidance[1:4, ::2, 1:, 3:].contiguous(), score[1:4, :, 1:, 3:], 0.3)
    part = ops.sem_mask(guidance[1:4, ::2, 1:, 3:], score[1:4, :, 1:, 3:], 0.3)
    assert torch.equal(whole, part)
    one = ops.sem_mask(guidance[2:3, ::2, 1:, 3:], score[2:3, :, 1:, 3:], 0.3)
    torch.testing.assert_close(one, part[1:2])


def test_no_images_give_no_images():
    guidance, score = inputs(batch=0)
    assert ops.sem_mask(guidance, score, 0.3).shape == guidance.shape
    assert ops.sem_mask(guidance, score, 0.3, True).shape == guidance.shape


def test_meta_tensors_have_the_right_shape():
    guidance, score = (t.to("meta") for t in inputs())
    assert ops.sem_mask(guidance, score, 0.3).shape == guidance.shape


def test_under_autocast_nothing_is_cast():
    guidance, score = inputs()
    with torch.autocast("cpu", torch.bfloat16):
        out = ops.sem_mask(guidance, score, 0.3)
        half = ops.sem_mask(guidance.bfloat16(), score, 0.3)
    assert torch.equal(out, ops.sem_mask(guidance, score, 0.3))
    assert half.dtype is torch.bfloat16


def test_second_derivatives_and_vmap_are_refused_with_a_sentence():
    guidance, score = (t.requires_grad_() for t in inputs())
    (grad,) = torch.autograd.grad(
        ops.sem_mask(guidance, score, 0.3).square().sum(), score, create_graph=True
    )
    with pytest.raises(RuntimeError, match="sem_mask has first derivatives only"):
        grad.sum().backward()
    with pytest.raises(NotImplementedError, match=r"no torch\.func\.vmap rule"):
        torch.func.vmap(lambda g, s: ops.sem_mask(g, s, 0.3))(guidance[None], score[None])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"guidance": torch.zeros(3, 4, 5)}, r"guidance must be \(B, C, H, W\).*\(3, 4, 5\)"),
        ({"score": torch.zeros(3, 2, 3, 5)}, r"score must be \(3, 1, 3, 5\).*got \(3, 2, 3, 5\)"),
        ({"score": torch.zeros(2, 1, 3, 5)}, r"score must be"),
        ({"score": torch.zeros(3, 1, 3, 5, dtype=torch.int64)}, "floating point, got torch.int64"),
        ({"guidance": torch.zeros(3, 0, 3, 5)}, "at least one channel"),
        ({"alpha": -0.1}, "alpha must be finite and at least 0, got -0.1"),
        ({"alpha": float("nan")}, "alpha must be finite"),
        ({"score": torch.zeros(3, 1, 3, 5, device="meta")}, "one device, got cpu and meta"),
    ],
)
def test_bad_arguments_are_named(change, message):
    guidance, score = inputs()
    with pytest.raises(ValueError, match=message):
        ops.sem_mask(**{"guidance": guidance, "score": score, "alpha": 0.3, **change})


def test_arrays_are_a_type_error():
    guidance, score = inputs()
    with pytest.raises(TypeError, match="guidance must be a torch tensor, got ndarray"):
        ops.sem_mask(guidance.numpy(), score, 0.3)
