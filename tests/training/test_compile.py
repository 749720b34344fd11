"""A compiled network learns what the eager one does."""

import pytest
import torch

from semicon_fast.training import Trainer


@pytest.mark.slow
def test_losses_of_the_first_epoch_are_those_of_the_eager_network(tiny, tmp_path):
    losses = []
    for compiled in ("false", "true"):
        settings = f"run.compile={compiled}", "schedule.iterations=1", "schedule.epochs=1"
        folder = tmp_path / compiled
        Trainer(tiny.config(*settings), tiny.data(), output=folder).fit()
        (epoch,) = (line for line in tiny.log_of(folder) if line["event"] == "epoch")
        losses.append(epoch["loss"])
    torch._dynamo.reset()
    # Three steps apart by roundings alone.
    assert losses[1] == pytest.approx(losses[0], rel=1e-3)
