"""The best model so far of a run that has not ended, read from its checkpoints."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import ValidationError

from .. import models
from ..models import HashModel
from ..models.storage import restore
from . import checkpoint
from .checkpoint import Checkpoint, Position
from .config import Config, sentence
from .evaluation import transform_of
from .resume import CHECKPOINTS
from .state import without_prefix

Warn = Callable[[str], None]


class BestSoFar(NamedTuple):
    """A model on the CPU in evaluation mode, with its preprocessing; and where it is from.

    record: JSON-able. "kept" is "best so far" for the network of the best evaluation so far, or
    "last checkpoint" where none was made yet; "iteration" of "iterations"; "mAP" and what it was
    measured "on", both None without an evaluation; "checkpoint", the name of the last one, where
    that is kept.
    """

    model: HashModel
    record: dict[str, Any]

    @property
    def file_name(self) -> str:
        """Of its own for each model, so that galleries of an earlier one keep theirs."""
        if "checkpoint" in self.record:
            return f"checkpoint-{self.record['checkpoint']}.safetensors"
        return f"best-iteration-{self.record['iteration']}.safetensors"


def best_so_far(run: Path, warn: Warn | None = None) -> BestSoFar:
    """The model of the run in this folder, which may still be going on: nothing is changed.

    warn: takes a sentence for each checkpoint that is passed over. Raises ValueError for a folder
    without a checkpoint, or with damaged ones alone, or those of another version.
    """
    found = _newest(run, warn)
    if found is None:
        raise ValueError(
            f"{run / CHECKPOINTS} holds no checkpoint: {run} is no run, or was stopped before its "
            "first checkpoint"
        )
    config, record = _config(found), _record(found)
    tensors = without_prefix("model" if "checkpoint" in record else "best", found.tensors)
    network = {"network": config.model.network, "code_length": config.model.code_length}
    model = restore({**network, **config.model.options}, tensors, found.path)
    model.preprocess = transform_of(config.data, train=False).config()
    return BestSoFar(model, record)


def export_best(run: Path, warn: Warn | None = None) -> tuple[Path, dict[str, Any]]:
    """Writes the best model so far into the run's folder; (its file, its record)."""
    best = best_so_far(run, warn)
    path = run / best.file_name
    models.save(best.model, path, record=best.record)
    return path, best.record


def unfinished(run: Path) -> str | None:
    """What there is to say of a run that has not ended: how far it is, what can be done with it.

    None for a folder without checkpoints. Raises ValueError where all of them are damaged.
    """
    found = _newest(run, None)
    if found is None:
        return None
    record = _record(found)
    at, iterations = Position(*found.state["position"]), record["iterations"]
    where = f"iteration {min(at.iteration + 1, iterations)} of {iterations}"
    return (
        f"{run} is not finished ({where}): its {described(record)} can be used with: "
        f"semicon-fast encode {run} IMAGES -o GALLERY --from-checkpoint; or go on with: "
        f"semicon-fast train --output {run} --resume"
    )


def described(record: dict[str, Any]) -> str:
    """The record of a model in words."""
    if "checkpoint" in record:
        return f"last checkpoint ({record['checkpoint']}, not evaluated yet)"
    figure = f"mAP {record['mAP']:.4f} on {record['on']}"
    return f"best model so far (iteration {record['iteration']}, {figure})"


def _newest(run: Path, warn: Warn | None) -> Checkpoint | None:
    found, problems = checkpoint.newest_usable(run / CHECKPOINTS)
    if found is None and problems:
        raise ValueError(f"no checkpoint of {run} can be used: {'; '.join(problems)}")
    if warn is not None:
        for problem in problems:
            warn(f"{problem}; taking an older one")
    return found


def _config(found: Checkpoint) -> Config:
    try:
        return Config.model_validate(found.state["config"])
    except ValidationError as error:
        raise ValueError(
            f"checkpoint {found.path} was written by another version: {sentence(error)}"
        ) from None


def _record(found: Checkpoint) -> dict[str, Any]:
    config, best = _config(found), found.state["selection"]["best"]
    iterations = config.schedule.iterations
    if best is not None:
        on = "held-out training images" if config.selection.mode == "holdout" else "the test set"
        return {"kept": "best so far", **best, "iterations": iterations, "on": on}
    at = Position(*found.state["position"])
    return {
        "kept": "last checkpoint",
        "checkpoint": found.path.name,
        "iteration": at.iteration + bool(at.epoch or at.batch),
        "iterations": iterations,
        "mAP": None,
        "on": None,
    }
