"""Writes the log's losses and metrics for TensorBoard, to OUTPUT/tensorboard."""

import json
import time
from pathlib import Path
from typing import Any

from ..text import printable
from .config import ScheduleConfig


def require_tensorboard(folder: Path) -> None:
    """Raises ValueError if the package tensorboard is not installed or cannot write to `folder`."""
    try:
        str(folder).encode()
    except UnicodeEncodeError:
        raise ValueError(
            f"run.tensorboard needs an output folder whose path is UTF-8, got {printable(folder)}"
        ) from None
    try:
        import torch.utils.tensorboard  # noqa: F401
    except ImportError:
        raise ValueError(
            "run.tensorboard needs the package tensorboard, which is not installed: "
            "pip install 'semicon_fast[tensorboard]'"
        ) from None


class Curves:
    """Writes events of the log as scalars. Steps are epochs over all outer iterations, from 1.

    A resumed run purges all earlier scalars (`purge_step` 0) and writes the log's events again, so
    that every curve has one value per step. Times are those of the log, as if the run had not been
    interrupted.
    """

    def __init__(self, folder: Path, schedule: ScheduleConfig, log: Path, seconds: float) -> None:
        """log: file with the events so far. seconds: the run's time so far."""
        from torch.utils.tensorboard import SummaryWriter

        self.schedule, self._begun = schedule, time.time() - seconds
        self._writer = SummaryWriter(str(folder), purge_step=0)
        for line in log.read_text("utf-8").splitlines():
            self.record(json.loads(line))

    def record(self, record: dict[str, Any]) -> None:
        """Write the scalars of an "epoch", "evaluation" or "result" event."""
        epochs = self.schedule.epochs
        if record["event"] == "epoch":
            step = (record["iteration"] - 1) * epochs + record["epoch"]
            found = {f"loss/{name}": value for name, value in record["loss"].items()}
            found["lr"] = record["lr"]
        elif record["event"] == "evaluation":
            step = record["iteration"] * epochs
            found = {f"mAP/{record['on']}": record["mAP"]}
        elif record["event"] == "result":
            step = self.schedule.iterations * epochs
            ways = record["evaluation"].items()
            found = {f"result mAP/{way}": figures["mAP"] for way, figures in ways}
        else:
            return
        for name, value in found.items():
            self._writer.add_scalar(name, value, step, self._begun + record["seconds"])
        self._writer.flush()

    def close(self) -> None:
        self._writer.close()
