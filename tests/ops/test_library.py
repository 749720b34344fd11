"""A faster implementation takes over by device, for an operation that has already been called."""

import pytest
import torch

from semicon_fast.ops import _library


def test_an_override_takes_the_place_of_the_plain_implementation():
    def fake(x: torch.Tensor, k: int) -> torch.Tensor:
        return torch.empty_like(x)

    op = _library.define("probe(Tensor x, int k) -> Tensor", lambda x, k: x + k, fake)
    x = torch.zeros(3)
    assert op(x, 2).tolist() == [2, 2, 2]
    _library.override(op, "CPU", lambda x, k: x - k)
    assert op(x, 2).tolist() == [-2, -2, -2]
    assert op(x.to("meta"), 2).shape == (3,)


def test_every_operation_refuses_vmap_by_name():
    with pytest.raises(NotImplementedError, match="semicon_fast.sem_mask already takes a batch"):
        torch.func.vmap(lambda g: torch.ops.semicon_fast.sem_mask(g, g, 0.3, False, False, False))(
            torch.zeros(2, 1, 1, 2, 2)
        )
