"""Checks of a run folder before training: unused, finished, or with a checkpoint to resume from.

torch is imported only if the folder contains checkpoints, so that most checks are fast.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..files import check_folder
from .config import Config, differences
from .reporter import Reporter

if TYPE_CHECKING:
    from . import checkpoint

CONFIG, LOG, RESULT, CHECKPOINTS = "config.json", "log.jsonl", "result.json", "checkpoints"
MODEL, CODES = "model.safetensors", "codes.safetensors"

# Settings that may be changed on resume. They do not affect the result, except for rounding: the
# order of additions depends on the device and the number of threads.
MAY_CHANGE = {"run.workers", "run.threads", "run.device", "run.tensorboard", "data.root"}


# Settings of the data that the runs of an ensemble must share: its images and what networks see.
SHARED = ("name", "options", "image_size", "transform", "mean", "std", "cache_size")


def check_finished(run: Path, *names: str) -> None:
    """Raises ValueError unless the folder `run` contains these files of a finished run."""
    refuse_unfinished(run)
    for name in names:
        if not (run / name).is_file():
            raise ValueError(f"{run} holds no finished run: {name} is missing")


def refuse_unfinished(run: Path) -> None:
    """Raises ValueError, which says how to go on, if `run` was stopped after a checkpoint."""
    if not (run / MODEL).is_file() and (run / CHECKPOINTS).is_dir():
        from .best import unfinished

        if message := unfinished(run):
            raise ValueError(message)


def refuse_used(output: Path) -> None:
    """Raises ValueError if `output` already contains a run, OSError if it could not be written."""
    check_folder(output)
    if any((output / name).exists() for name in (CONFIG, LOG, RESULT)) or _checkpoints(output):
        raise ValueError(
            f"output {output} holds a run already; continue it with resume=True (--resume), or "
            "choose another folder"
        )


def check_members(runs: Sequence[Path], output: Path) -> Config:
    """The configuration of the first of the runs, which can be joined to an ensemble in `output`.

    Raises ValueError unless there are at least two runs, all finished and on the same data, and no
    run or model in `output`; OSError if that could not be written.
    """
    if len(runs) < 2:
        raise ValueError(f"an ensemble needs at least 2 runs, got {len(runs)}")
    configs = []
    for run in runs:
        check_finished(run, CONFIG, MODEL)
        configs.append(Config.read(run / CONFIG))
    for run, config in zip(runs[1:], configs[1:], strict=True):
        for key in SHARED:
            one, other = getattr(configs[0].data, key), getattr(config.data, key)
            if one != other:
                raise ValueError(
                    "the runs of an ensemble must have the same data, prepared in the same way, "
                    f"but data.{key} is {one!r} in {runs[0]} and {other!r} in {run}"
                )
    refuse_used(output)
    if (output / MODEL).exists():
        raise ValueError(f"output {output} holds a model already, choose another folder")
    return configs[0]


def find_checkpoint(
    output: Path, config: Config, reporter: Reporter
) -> checkpoint.Checkpoint | None:
    """The newest usable checkpoint in `output`, None (and a notice) if there is none.

    Raises ValueError if the run was started with another configuration.
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
            "a run can only be resumed with the configuration that it was started with"
        )
    return found


def _checkpoints(output: Path) -> list[Path]:
    if not (output / CHECKPOINTS).is_dir():
        return []
    from . import checkpoint

    return checkpoint.list_checkpoints(output / CHECKPOINTS)


def inspect_output(
    output: Path, config: Config, resume: bool, reporter: Reporter
) -> tuple[bool, checkpoint.Checkpoint | None]:
    """(whether the run in `output` is finished, the checkpoint to resume from); process 0 decides.

    Raises ValueError like `refuse_used` without resume, like `find_checkpoint` with it.
    """
    from .. import distributed
    from . import checkpoint

    found: checkpoint.Checkpoint | None = None

    def decide() -> list[str]:
        nonlocal found
        if not resume:
            refuse_used(output)
            return ["new", ""]
        found = find_checkpoint(output, config, reporter)
        if (output / RESULT).is_file():
            reporter.notice(f"{output} holds a finished run: nothing is left to do")
            return ["finished", ""]
        return ["new", ""] if found is None else ["found", str(found.path)]

    state, path = distributed.on_main(decide)
    if state == "found" and found is None:
        found = checkpoint.read(Path(path))
    return state == "finished", found
