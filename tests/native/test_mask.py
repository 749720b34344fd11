"""SEM's mask by the kernel, on every instruction set: as exact as torch, flat maps left alone."""

import pytest
import torch

from semicon_fast import reference
from semicon_fast.ops import _cpu_mask

MASK = torch.ops.semicon_fast.sem_mask.default
MASK_BACKWARD = torch.ops.semicon_fast.sem_mask_backward.default
LAYOUTS = [torch.contiguous_format, torch.channels_last]
SWITCHES = [(batch, clamp) for batch in (False, True) for clamp in (False, True)]


@pytest.fixture
def each_kernel(each_isa, monkeypatch):
    """Go through the instruction sets that have the kernel; every call is worth it."""
    monkeypatch.setattr(_cpu_mask, "WORTH_A_KERNEL", 0)

    def go():
        for isa in each_isa():
            if torch.ops.semicon_fast._attention_available():
                yield isa

    return go


def arguments(size=(14, 14), layout=torch.contiguous_format):
    generator = torch.Generator().manual_seed(0)
    guidance = torch.randn(5, 24, *size, generator=generator).to(memory_format=layout)
    score = 3 * torch.randn(5, 1, *size, generator=generator)
    score[2] = 0.7
    return guidance, score


@pytest.mark.parametrize("size", [(14, 14), (7, 7), (3, 5), (1, 1), (16, 16)])
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("switches", SWITCHES)
def test_error_is_at_most_twice_that_of_torch(switches, layout, size, each_kernel, threads):
    guidance, score = arguments(size, layout)
    options = (0.3, *switches, True)
    exact = reference.sem_mask(guidance.double(), score.double(), *options)
    plain = reference.sem_mask(guidance, score, *options)
    allowed = 2 * (plain - exact).abs().max() + 1e-6 * exact.abs().max()
    for isa in each_kernel():
        first = None
        for count in (1, 3):
            threads(count)
            own = MASK(guidance, score, *options)
            first = own if first is None else first
            assert (own - exact).abs().max() <= allowed, isa
            assert own.stride() == plain.stride() and torch.equal(own, first)
        if not switches[0]:
            assert torch.equal(own[2], guidance[2]), "a flat map masks nothing"


@pytest.mark.parametrize("layout", LAYOUTS)
def test_detached_gradient_is_the_masked_gradient(layout, each_kernel):
    guidance, score = arguments(layout=layout)
    options, grad = (0.15, True, True, True), guidance.flip(1).contiguous()
    plain = reference.sem_mask_backward(grad, guidance, score, *options)
    for _ in each_kernel():
        own = MASK_BACKWARD(grad, guidance, score, *options)
        torch.testing.assert_close(own[0], plain[0], rtol=1e-5, atol=1e-6)
        assert own[0].stride() == plain[0].stride() and not own[1].any()


def test_what_is_no_number_stays_in_its_image(each_kernel):
    guidance, score = arguments()
    score[1, 0, 3, 3] = float("nan")
    for _ in each_kernel():
        own = MASK(guidance, score, 0.3, False, True, True)
        assert own[1].isnan().all() and own[2:].isfinite().all() and own[0].isfinite().all()


def test_operation_passes_opcheck(each_kernel):
    guidance, score = arguments()
    for _ in each_kernel():
        given = (guidance.clone().requires_grad_(), score, 0.3, True, True, True)
        torch.library.opcheck(MASK, given)


def test_wrong_operands_are_refused(each_kernel):
    guidance, score = arguments()
    kernel = torch.ops.semicon_fast._sem_mask
    for _ in each_kernel():
        for maps, scores in (
            (guidance.double(), score),
            (guidance[0], score),
            (guidance, score[1:]),
        ):
            with pytest.raises(ValueError, match="_sem_mask: "):
                kernel(maps, scores, 0.3, False, False)
