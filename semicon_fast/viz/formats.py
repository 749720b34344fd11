"""The formats that pictures are written in. Needs no Matplotlib."""

import os
from pathlib import Path

FORMATS = ("png", "svg", "pdf")


def format_of(path: str | os.PathLike[str]) -> str:
    """One of `FORMATS`, by the suffix of `path`. Raises ValueError for another suffix."""
    kind = Path(path).suffix.lower().lstrip(".")
    if kind not in FORMATS:
        raise ValueError(f"{path}: a picture's name must end in .png, .svg or .pdf")
    return kind
