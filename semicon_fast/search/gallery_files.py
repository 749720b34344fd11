"""Checks of gallery folders that import neither NumPy nor torch.

Commands call them first, so that wrong arguments are reported at once.
"""

import json
import os
from pathlib import Path
from typing import Any

from ..files import check_folder

FORMAT = 1


def read_about(folder: str | os.PathLike[str]) -> dict[str, Any]:
    """Content of a gallery's gallery.json. Raises ValueError if it is missing or not readable."""
    path = Path(folder)
    about_path = path / "gallery.json"
    if not about_path.is_file():
        raise ValueError(f"{path} is no gallery: it holds no gallery.json (see `encode`)")
    try:
        about: dict[str, Any] = json.loads(about_path.read_text("utf-8"))
        if not isinstance(about, dict) or not isinstance(about.get("format", 0), int):
            raise ValueError("its gallery.json is not one that `encode` wrote")
        if about.get("format", 0) > FORMAT:
            raise ValueError(f"its format {about['format']} is newer than this version reads")
    except (OSError, ValueError) as error:
        raise ValueError(f"{path} is no readable gallery: {error}") from error
    return about


def check_free(folder: str | os.PathLike[str], overwrite: bool) -> None:
    """Raises FileExistsError if `folder` is a file or not empty, unless `overwrite`; OSError if it
    could not be written."""
    target = Path(folder)
    if target.exists() and not overwrite and (target.is_file() or any(target.iterdir())):
        raise FileExistsError(f"{target} exists already; choose another folder or overwrite it")
    check_folder(target.parent if target.exists() else target)
