"""The folder of a run: configuration, log, checkpoints; its time and commands over restarts."""

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


class Folder:
    """What a run leaves at `path` as it goes on. Every line of the log goes to `reporter` too.

    Of several processes only process 0 writes; where it cannot, all fail.
    """

    def __init__(self, path: Path, config: Config, reporter: Reporter) -> None:
        self.path, self.config, self.reporter = path, config, reporter
        self.saved: Path | None = None
        self.commands = [_command()]
        self._lines, self._before, self._clock = 0, 0.0, time.monotonic()
        self._log: Log | None = None
        self._curves: Curves | None = None
        if config.run.tensorboard:
            require_tensorboard()

    def go_on(self, found: Checkpoint) -> None:
        """Takes over what came before a restart."""
        self._lines, self._before = int(found.state["log_lines"]), found.state["seconds"]
        self.commands = [*found.state.get("commands", []), *self.commands]
        self.saved = found.path
        self.reporter.notice(f"going on from {found.path}")

    def open(self) -> None:
        """Makes the folder; cuts the log back to the lines that a checkpoint counted on."""
        distributed.on_main(self._open)

    def close(self) -> None:
        self.reporter.close()
        for file in (self._log, self._curves):
            if file is not None:
                file.close()

    def record(self, event: str, **values: Any) -> None:
        """A line of the log."""
        if self._log is not None:
            record = self._log.write(event, **values, seconds=round(self.seconds, 3))
            self.reporter.record(record)
            if self._curves is not None:
                self._curves.record(record)

    def save(self, at: Position, tensors: dict[str, Tensor], state: dict[str, Any]) -> None:
        """A checkpoint, with all lines of the log before it."""
        self.saved = Path(distributed.on_main(lambda: str(self._save(at, tensors, state))))

    def finish(self, result: Result) -> None:
        """result.json, after which nothing is left to do."""
        distributed.on_main(lambda: self._finish(result))

    def _open(self) -> None:
        self.path.mkdir(parents=True, exist_ok=True)
        self._log = Log(self.path / LOG, self._lines)
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
        """Since the run began, the time between its parts left out."""
        return self._before + time.monotonic() - self._clock

    @property
    def how_to_go_on(self) -> str:
        place = f"saved in {self.saved}" if self.saved else "nothing was saved yet"
        how = f"semicon-fast train --output {self.path} --resume"
        if distributed.world_size() > 1:
            how += " (by torchrun as before, with any number of processes)"
        return f"{place}; go on with: {how}"

    @property
    def last_good(self) -> str:
        return f"the last good checkpoint is {self.saved}" if self.saved else "none was saved yet"


def _command() -> str:
    processes = distributed.world_size()
    return command() if processes == 1 else f"{command()} ({processes} processes)"
