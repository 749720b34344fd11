"""The run folder: configuration, log, checkpoints and result of a run, across resumes."""

import shlex
import time
from pathlib import Path
from typing import Any

from torch import Tensor

from .. import distributed
from ..files import atomic_write
from .checkpoint import Checkpoint, Position, save
from .config import Config
from .log import Log
from .reporter import Reporter
from .result import Result, command
from .resume import CHECKPOINTS, CONFIG, LOG, RESULT
from .tensorboard import Curves, require_tensorboard

TENSORBOARD = "tensorboard"


class RunFolder:
    """Writes the files of a run to the folder `path`, and passes log records on to `reporter`.

    Only process 0 writes; if it fails, all processes raise.

    Attributes:
        saved: the newest checkpoint, None before the first one.
        commands: the command lines of the run, one for the start and one for each resume.
    """

    def __init__(self, path: Path, config: Config, reporter: Reporter) -> None:
        self.path, self.config, self.reporter = path, config, reporter
        self.saved: Path | None = None
        self.commands = [_command()]
        self._log_lines, self._seconds_before, self._started_at = 0, 0.0, time.monotonic()
        self._log: Log | None = None
        self._curves: Curves | None = None
        if config.run.tensorboard:
            require_tensorboard(path)

    def resume_from(self, found: Checkpoint) -> None:
        """Restore the log length, training time and commands that the checkpoint contains."""
        self._log_lines = int(found.state["log_lines"])
        self._seconds_before = found.state["seconds"]
        self.commands = [*found.state.get("commands", []), *self.commands]
        self.saved = found.path
        self.reporter.notice(f"resuming from {found.path}")

    def open(self) -> None:
        """Create the folder and open the log, truncated to its length at the checkpoint."""
        distributed.on_main(self._open)

    def close(self) -> None:
        self.reporter.close()
        for file in (self._log, self._curves):
            if file is not None:
                file.close()

    def record(self, event: str, **values: Any) -> None:
        """Append a record to the log."""
        if self._log is not None:
            record = self._log.write(event, **values, seconds=round(self.seconds, 3))
            self.reporter.record(record)
            if self._curves is not None:
                self._curves.record(record)

    def save(self, at: Position, tensors: dict[str, Tensor], state: dict[str, Any]) -> None:
        """Save a checkpoint, after flushing the log to disk."""
        self.saved = Path(distributed.on_main(lambda: str(self._save(at, tensors, state))))

    def finish(self, result: Result) -> None:
        """Write result.json, which marks the run as finished."""
        distributed.on_main(lambda: self._finish(result))

    def _open(self) -> None:
        self.path.mkdir(parents=True, exist_ok=True)
        self._log = Log(self.path / LOG, self._log_lines)
        if self.config.run.tensorboard:
            folder, log = self.path / TENSORBOARD, self.path / LOG
            self._curves = Curves(folder, self.config.schedule, log, self.seconds)
        if self.saved is None:
            with atomic_write(self.path / CONFIG, "w") as file:
                file.write(self.config.model_dump_json(indent=1) + "\n")

    def _save(self, at: Position, tensors: dict[str, Tensor], state: dict[str, Any]) -> Path:
        assert self._log is not None
        self._log.sync()
        state = {
            "config": self.config.model_dump(mode="json"),
            "log_lines": self._log.lines,
            "seconds": self.seconds,
            "commands": self.commands,
            **state,
        }
        return save(self.path / CHECKPOINTS, at, tensors, state)

    def _finish(self, result: Result) -> None:
        assert self._log is not None
        self._log.sync()
        result.save(self.path / RESULT)

    @property
    def seconds(self) -> float:
        """Time spent on the run so far, without the time between a stop and a resume."""
        return self._seconds_before + time.monotonic() - self._started_at

    @property
    def resume_hint(self) -> str:
        """Where the run was saved and the command that resumes it, for an error message."""
        place = f"saved in {self.saved}" if self.saved else "nothing was saved yet"
        how = f"semicon-fast train --output {shlex.quote(str(self.path))} --resume"
        if distributed.world_size() > 1:
            how += " (with torchrun as before, with any number of processes)"
        return f"{place}; resume with: {how}"

    @property
    def checkpoint_hint(self) -> str:
        """Which checkpoint can still be used, for an error message."""
        if self.saved is None:
            return "no checkpoint was saved yet"
        return f"the last good checkpoint is {self.saved}"


def _command() -> str:
    processes = distributed.world_size()
    return command() if processes == 1 else f"{command()} ({processes} processes)"
