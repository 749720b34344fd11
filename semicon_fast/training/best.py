"""The best model so far of an unfinished run, read from its checkpoints."""

import shlex
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
    """A model on the CPU in evaluation mode, with its preprocessing, and where it comes from.

    record: JSON-serialisable. "kept" is "best so far" for the model with the best evaluation so
    far, or "last checkpoint" if there was no evaluation yet; "iteration" is that of the model, of
    "iterations"; "mAP" was measured "on" these images, both None without an evaluation;
    "checkpoint" is the name of the last checkpoint, present only if the model is from there.
    """

    model: HashModel
    record: dict[str, Any]

    @property
    def file_name(self) -> str:
        """Different for each model, so that the model file of an existing gallery is kept."""
        if "checkpoint" in self.record:
            return f"checkpoint-{self.record['checkpoint']}.safetensors"
        return f"best-iteration-{self.record['iteration']}.safetensors"


def best_so_far(run: Path, warn: Warn | None = None) -> BestSoFar:
    """The best model so far of the run in this folder. Changes no files: it may still be training.

    warn: called with a message for each unusable checkpoint that is skipped. Raises ValueError if
    the folder has no checkpoint, or all are damaged or of another version.
    """
    found = _newest(run, warn)
    if found is None:
        raise ValueError(
            f"{run / CHECKPOINTS} holds no checkpoint: {run} is not a run, or was stopped "
            "before its first checkpoint"
        )
    config, record = _config(found), _record(found)
    tensors = without_prefix("model" if "checkpoint" in record else "best", found.tensors)
    network = {"network": config.model.network, "code_length": config.model.code_length}
    model = restore({**network, **config.model.options}, tensors, found.path)
    model.preprocess = transform_of(config.data, train=False).config()
    return BestSoFar(model, record)


def export_best(run: Path, warn: Warn | None = None) -> tuple[Path, dict[str, Any]]:
    """Write the best model so far to the run folder; returns its file and its record."""
    best = best_so_far(run, warn)
    path = run / best.file_name
    models.save(best.model, path, record=best.record)
    return path, best.record


def unfinished(run: Path) -> str | None:
    """A message about an unfinished run: how far it is, and how to use its model or resume it.

    None if the folder has no checkpoints. Raises ValueError if none of them can be used.
    """
    found = _newest(run, None)
    if found is None:
        return None
    record = _record(found)
    at, iterations = Position(*found.state["position"]), record["iterations"]
    folder = shlex.quote(str(run))
    where = f"iteration {min(at.iteration + 1, iterations)} of {iterations}"
    return (
        f"{run} is not finished ({where}): its {described(record)} can be used with: "
        f"semicon-fast encode {folder} IMAGES -o GALLERY --from-checkpoint; or resume with: "
        f"semicon-fast train --output {folder} --resume"
    )


def described(record: dict[str, Any]) -> str:
    """The record of a model as text."""
    if "checkpoint" in record:
        return f"last checkpoint ({record['checkpoint']}, not evaluated yet)"
    score = f"mAP {record['mAP']:.4f} on {record['on']}"
    return f"best model so far (iteration {record['iteration']}, {score})"


def _newest(run: Path, warn: Warn | None) -> Checkpoint | None:
    found, problems = checkpoint.newest_usable(run / CHECKPOINTS)
    if found is None and problems:
        raise ValueError(f"no checkpoint of {run} can be used: {'; '.join(problems)}")
    if warn is not None:
        for problem in problems:
            warn(f"{problem}; using an older one")
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
