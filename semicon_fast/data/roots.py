"""Checks that a data set's root folder exists. Does not import torch, so it can run first."""

import os
from pathlib import Path


def existing_folder(root: str | os.PathLike[str]) -> Path:
    """The folder at `root`, with ~ expanded. Raises ValueError if it does not exist."""
    try:
        base = Path(root).expanduser()
    except RuntimeError:  # ~ of a user that does not exist
        base = Path(root)
    # Path("") is the current folder, which nobody means by it.
    if not os.fspath(root) or not base.is_dir():
        found = "a file" if os.fspath(root) and base.exists() else "nothing"
        raise ValueError(f"root must be an existing folder, found {found} at {root!s:.4096}")
    return base
