"""Checks of arguments that need no torch, so that a mistake is reported at once.

Each raises ValueError or OSError with one sentence; commands make them before heavy imports.
"""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..data import registry
from ..files import check_file
from ..viz import formats
from .common import model_file

PRECISIONS = ("fp32", "bf16", "fp16")
ON_BROKEN = ("error", "skip")
DENOMINATORS = ("retrieved", "capped", "relevant")
DATABASE_SIDES = ("learned", "centers", "encoded")


def check_choice(option: str, given: str, known: Sequence[str]) -> None:
    """`given` must be one of `known`."""
    if given not in known:
        raise ValueError(f"{option} must be one of {', '.join(known)}, got {given!r}")


def choices(option: str, given: str, known: Sequence[str]) -> list[str]:
    """Comma-separated names in the order of `known`; "all" is all of them."""
    names = list(known) if given == "all" else [name.strip() for name in given.split(",")]
    if unknown := [name for name in names if name not in known]:
        raise ValueError(f"{option} must be among {', '.join(known)}, got {unknown[0]!r}")
    return [name for name in known if name in names]


def check_device(name: str) -> None:
    """Whether the name is one of a device; `choose_device` looks whether there is such a device."""
    if not re.fullmatch(r"auto|cpu|cuda(:\d+)?", name):
        raise ValueError(f"--device must be auto, cpu, cuda or cuda:N, got {name!r}")


def check_exists(paths: Sequence[Path]) -> None:
    """Every path must exist."""
    for path in paths:
        if not path.exists():
            raise ValueError(f"{path} does not exist")


def check_picture(path: Path | None) -> None:
    """The file of a picture must have the suffix of a format, in a folder that can be written."""
    if path is not None:
        formats.format_of(path)
        check_file(path)


def check_run(run: Path, root: str | None) -> None:
    """The folder must hold a finished run, and its data set must be where it was, or at `root`."""
    from ..training import Config, resume

    resume.check_finished(run, resume.CONFIG, resume.MODEL)
    config = Config.read(run / resume.CONFIG)
    registry.check_root(config.data.name, config.data.root if root is None else root)


def gallery_model(about: dict[str, Any], given: Path | None) -> Path:
    """File of the model that was given, or that made the gallery. about: its gallery.json."""
    recorded = given or about.get("model")
    if not recorded:
        raise ValueError("the gallery does not say what model made it; name one with --model")
    return model_file(Path(recorded))
