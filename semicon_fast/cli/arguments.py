"""Checks of arguments that need no torch, so that a mistake is reported at once.

Each raises ValueError or OSError with one sentence; commands make them before heavy imports.
"""

import hashlib
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..data import registry
from ..data.vector_files import place
from ..files import check_file
from ..viz import formats
from .common import model_file

PRECISIONS = ("fp32", "bf16", "fp16")
ON_BROKEN = ("error", "skip")
DENOMINATORS = ("retrieved", "capped", "relevant")


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


def hasher_file(path: Path) -> bool:
    """Whether this is a safetensors file that `fit` wrote, by its header: the length in 8 bytes,
    little-endian, and that much JSON."""
    try:
        with open(path, "rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if length > 100_000_000:
                return False
            metadata = json.loads(file.read(length))["__metadata__"]
        return "hasher" in json.loads(metadata["semicon_fast"])
    except (OSError, ValueError, KeyError, TypeError):
        return False


def check_hasher(path: Path) -> None:
    """The file must be one that `fit` wrote."""
    if not hasher_file(path):
        cause = "is not a file that it wrote" if path.exists() else "does not exist"
        raise ValueError(f"a hasher from `semicon-fast fit` is needed, {path} {cause}")


def check_texts(option: str, given: str | None) -> None:
    """The file of labels or names must exist, in a format that holds them."""
    if given is None:
        return
    if Path(given).suffix.lower() == ".txt":
        if not Path(given).is_file():
            raise ValueError(f"{option} {given} is no file")
        return
    try:
        suffix = place(given).path.suffix.lower()
    except ValueError as error:
        raise ValueError(f"{option}: {error}") from None
    if suffix not in (".npy", ".npz"):
        raise ValueError(f"{option} must be a .txt, .npy or .npz file, got {given}")


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
    """File of the model that was given, or that made the gallery. about: its gallery.json.

    Raises ValueError if it is missing or, by its checksum, not the one that made the codes.
    """
    recorded = given or about.get("model")
    if not recorded:
        raise ValueError("the gallery does not say what model made it; name one with --model")
    file = model_file(Path(recorded))
    checksum = about.get("model_sha256")
    if checksum and hashlib.sha256(file.read_bytes()).hexdigest() != checksum:
        raise ValueError(
            f"{file} is not the model that made this gallery's codes: name the right one, or "
            "encode the images again"
        )
    return file


def gallery_network(about: dict[str, Any], given: Path | None) -> Path:
    """As `gallery_model`, for a command that needs a network: a hasher is a ValueError too."""
    file = gallery_model(about, given)
    if hasher_file(file):
        raise ValueError(
            "the gallery holds feature vectors, which `semicon-fast search` searches; this command "
            "needs one of images"
        )
    return file
