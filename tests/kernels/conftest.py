"""What the tests of Triton kernels share: guarded memory, the rule of two, the interpreter.

Under TRITON_INTERPRET=1 the launchers run on CPU tensors. `test_interpreted.py` starts such a
process, because Triton reads the variable when it is imported.
"""

import os

import pytest
import torch

INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
MARGIN = 256

if INTERPRETED:
    import numpy as np
    import triton.language as tl
    from triton.runtime import interpreter

    Builder, Handle = interpreter.InterpreterBuilder, interpreter.TensorHandle
    plain_cast, plain_dot = Builder.cast_impl, Builder.create_dot

    def rounded_cast(self, src, dst_type):
        """float32 to bfloat16 to nearest even, as devices do; the interpreter cuts off."""
        if src.dtype.scalar != tl.float32 or dst_type.scalar != tl.bfloat16:
            return plain_cast(self, src, dst_type)
        halves = torch.from_numpy(np.array(src.data)).bfloat16().view(torch.uint16)
        return Handle(halves.numpy(), tl.bfloat16)

    def widened_dot(self, a, b, d, *options):
        """Products of bfloat16 tiles; the interpreter multiplies their bits as integers."""
        if a.dtype.scalar == tl.bfloat16:
            a, b = (plain_cast(self, operand, tl.float32) for operand in (a, b))
        return plain_dot(self, a, b, d, *options)

    # Where create_fp_trunc and the like call cast_impl, they find the replacement.
    Builder.cast_impl, Builder.create_dot = rounded_cast, widened_dot


@pytest.hookimpl(trylast=True)  # after -m has taken its choice
def pytest_collection_modifyitems(items):
    """Of the chosen tests every n-th, from the first one on, where KERNEL_TESTS says `first/n`."""
    if INTERPRETED and "KERNEL_TESTS" in os.environ:
        first, step = map(int, os.environ["KERNEL_TESTS"].split("/"))
        items[:] = items[first::step]


@pytest.fixture
def guarded():
    """guarded(tensor) -> a copy with NaN on both sides, which must still be there at the end."""
    stores = []

    def copy(value, fill=None):
        if value is None:
            return None
        store = torch.full((value.numel() + 2 * MARGIN,), float("nan"), dtype=value.dtype)
        stores.append(store)
        inner = store[MARGIN : MARGIN + value.numel()]
        result = torch.as_strided(inner, value.shape, value.stride(), inner.storage_offset())
        return result.copy_(value) if fill is None else result.fill_(fill)

    yield copy
    for store in stores:
        assert store[:MARGIN].isnan().all() and store[-MARGIN:].isnan().all()


@pytest.fixture
def as_good_as_torch():
    """The rule of two: at most twice the error of plain torch in the same dtype, plus rounding."""

    def check(own, plain, truth):
        allowed = 2 * (plain.double() - truth).norm() + torch.finfo(own.dtype).eps * truth.norm()
        assert (own.double() - truth).norm() <= allowed

    return check
