"""Makes one run of several: the ensemble of their networks, with the codes that they learned."""

import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from .. import models
from ..codes import join_codes
from ..files import atomic_write
from ..models import Ensemble
from .config import Config
from .learned_codes import LearnedCodes, read_codes, save_codes
from .resume import CODES, CONFIG, MODEL, check_members


def join_runs(runs: Sequence[str | os.PathLike[str]], output: str | os.PathLike[str]) -> Ensemble:
    """Write the ensemble of the networks of these runs as a run of its own.

    The folder has model.safetensors, whose record names the members, and config.json, which is that
    of the first run but for its model: the settings of training are those of a member. It has
    codes.safetensors if every run learned codes of the same images in the same way: those codes
    side by side.

    Args:
        runs: folders of finished runs on the same data, at least two.
        output: folder to write to, in which there is no run and no model.

    Returns:
        the ensemble, on the CPU and in evaluation mode.

    Raises:
        ValueError: fewer than two runs, one that is not finished, other data or preprocessing, or
            an output folder that holds a run or a model.
        OSError: the folder cannot be written.
    """
    folders, target = [Path(run) for run in runs], Path(output)
    first = check_members(folders, target)
    networks = [models.load(folder / MODEL) for folder in folders]
    joined = Ensemble(networks).eval()
    config = _config(first, joined)
    codes = _joined_codes(folders, [network.code_length for network in networks])
    members = [_member(folder) for folder in folders]
    if codes is not None:
        save_codes(target / CODES, *codes, joined.code_length)
    models.save(joined, target / MODEL, record={"kept": "ensemble", "members": members})
    # The last file: without it the folder is no run.
    with atomic_write(target / CONFIG, "w") as file:
        file.write(config.model_dump_json(indent=1) + "\n")
    return joined


def _config(first: Config, joined: Ensemble) -> Config:
    """The configuration of a member with the ensemble as its model."""
    options = joined.options()
    bits = options.pop("code_length")
    model = {"network": joined.network, "code_length": bits, "options": options}
    changed = {**first.model_dump(mode="json"), "model": model}
    return Config.model_validate_json(json.dumps(changed))


def _member(folder: Path) -> dict[str, Any]:
    file = folder / MODEL
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    return {"model": str(file.resolve()), "sha256": digest}


def _joined_codes(
    folders: Sequence[Path], bits: Sequence[int]
) -> tuple[LearnedCodes, Tensor] | None:
    """The learned codes of all runs side by side with the images' labels; None unless all have some
    of the same kind, of images with the same labels."""
    found = [read_codes(folder / CODES) for folder in folders]
    there = [codes for codes in found if codes is not None]
    if len(there) < len(found):
        return None
    (learned, labels), *others = there
    for codes, theirs in others:
        if codes.of_classes != learned.of_classes or not torch.equal(theirs, labels):
            return None
    pieces = [(codes.codes, length) for (codes, _), length in zip(there, bits, strict=True)]
    return LearnedCodes(join_codes(pieces), learned.of_classes), labels
