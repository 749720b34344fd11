"""The mark that is set without importing torch._dynamo is the one that torch sets."""

import torch

from semicon_fast.ops import _triton


def test_the_mark_of_a_constant_is_torchs():
    def marked():
        pass

    torch.compiler.assume_constant_result(marked)
    assert vars(marked) == vars(_triton._loads_norm)
