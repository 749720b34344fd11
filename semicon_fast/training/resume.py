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
    if not (run / MODEL).is_file() and (run / CHECKPOINTS).is_dir():
        from .best import unfinished

        if said := unfinished(run):
            raise ValueError(said)
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


def look(
    output: Path, config: Config, resume: bool, reporter: Reporter
) -> tuple[bool, checkpoint.Checkpoint | None]:
    """(whether `output` holds a finished run, the checkpoint to go on from); process 0 decides.

    Raises ValueError as `refuse_used` without resume, as `find` with it.
    """
    from .. import distributed
    from . import checkpoint

    found: checkpoint.Checkpoint | None = None

    def decide() -> list[str]:
        nonlocal found
        if not resume:
            refuse_used(output)
            return ["new", ""]
        found = find(output, config, reporter)
        if (output / RESULT).is_file():
            reporter.notice(f"{output} holds a finished run: nothing is left to do")
            return ["finished", ""]
        return ["new", ""] if found is None else ["found", str(found.path)]

    state, path = distributed.on_main(decide)
    if state == "found" and found is None:
        found = checkpoint.read(Path(path))
    return state == "finished", found
