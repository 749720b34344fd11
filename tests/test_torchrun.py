"""What torchrun tells a process, as torch reads it."""

import pytest
import torch.distributed as dist

from semicon_fast import torchrun


@pytest.mark.parametrize("run_id", [None, "7"])
def test_it_agrees_with_torch(run_id, monkeypatch):
    monkeypatch.delenv("TORCHELASTIC_RUN_ID", raising=False)
    if run_id is not None:
        monkeypatch.setenv("TORCHELASTIC_RUN_ID", run_id)
    monkeypatch.setenv("RANK", "3")
    assert torchrun.rank() == (0 if run_id is None else 3)
    assert torchrun.launched() == dist.is_torchelastic_launched() == (run_id is not None)
