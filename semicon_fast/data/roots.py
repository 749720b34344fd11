"""Checks that a data set's root folder exists. Does not import torch, so it can run first."""

import os
from pathlib import Path


def existing_folder(root: str | os.PathLike[str]) -> Path:
    """The folder at `root`, with ~ expanded. Raises ValueError if it does not exist."""
    base = Path(root).expanduser()
    if not base.is_dir():
        found = "a file" if base.exists() else "nothing"
        raise ValueError(f"root must be an existing folder, found {found} at {base}")
    return base
