"""Whether torchrun started a process: what torch says."""

import pytest
import torch.distributed as dist

from semicon_fast import torchrun


@pytest.mark.parametrize("run_id", [None, "7"])
def test_it_agrees_with_torch(run_id, monkeypatch):
    monkeypatch.delenv("TORCHELASTIC_RUN_ID", raising=False)
    if run_id is not None:
        monkeypatch.setenv("TORCHELASTIC_RUN_ID", run_id)
    assert torchrun.launched() == dist.is_torchelastic_launched() == (run_id is not None)
