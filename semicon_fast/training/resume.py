"""Whether a folder may take a new run, holds a finished one, and where a stopped one goes on.

torch is imported only where checkpoints are looked at, so that most folders are judged without it.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from .config import Config, differences
from .reporter import Reporter

if TYPE_CHECKING:
    from . import checkpoint

CONFIG, LOG, RESULT, CHECKPOINTS = "config.json", "log.jsonl", "result.json", "checkpoints"
MODEL = "model.safetensors"

# What may differ between a run and its resumption: none of it enters the numbers, but for the
# order of additions on another device or with another number of threads.
MAY_CHANGE = {"run.workers", "run.threads", "run.device", "run.tensorboard", "data.root"}


def check_finished(run: Path, *names: str) -> None:
    """Raises ValueError unless the folder `run` holds these files of a finished run."""
    for name in names:
        if not (run / name).is_file():
            raise ValueError(f"{run} holds no finished run: {name} is missing")


def refuse_used(output: Path) -> None:
    """Raises ValueError if `output` holds a run."""
    if any((output / name).exists() for name in (CONFIG, LOG, RESULT)) or _checkpoints(output):
        raise ValueError(
            f"output {output} holds a run already; go on with it by resume (--resume), or take "
            "another folder"
        )


def find(output: Path, config: Config, reporter: Reporter) -> checkpoint.Checkpoint | None:
    """The newest complete checkpoint of a run with this configuration; None with a notice.

    Raises ValueError when the run was started with another configuration.
    """
    from . import checkpoint

    def warn(text: str) -> None:
        reporter.warning(text)
        warnings.warn(text, RuntimeWarning, stacklevel=4)

    found = checkpoint.newest(output / CHECKPOINTS, warn)
    if found is None:
        reporter.notice(f"no checkpoint in {output}: starting from the beginning")
        return None
    before = Config.model_validate(found.state["config"])
    changed = [key for key in differences(before, config) if key not in MAY_CHANGE]
    if changed:
        raise ValueError(
            f"the configuration differs from that of the run in {output}: {', '.join(changed)}; "
            "a run is resumed as it was started"
        )
    return found


def _checkpoints(output: Path) -> list[Path]:
    if not (output / CHECKPOINTS).is_dir():
        return []
    from . import checkpoint

    return checkpoint.present(output / CHECKPOINTS)
