"""The file formats of figures. Does not import Matplotlib."""

import os
from pathlib import Path

FORMATS = ("png", "svg", "pdf")


def format_of(path: str | os.PathLike[str]) -> str:
    """The format that the suffix of `path` names. Raises ValueError if it is not in `FORMATS`."""
    kind = Path(path).suffix.lower().lstrip(".")
    if kind not in FORMATS:
        raise ValueError(f"{path}: a picture's name must end in .png, .svg or .pdf")
    return kind
