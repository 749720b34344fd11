"""Files of feature vectors by name, checked without NumPy or torch."""

import os
from pathlib import Path
from typing import NamedTuple

from ..files import check_file

# Formats, and whether a file holds several arrays of which one can be named.
SUFFIXES = {".npy": False, ".npz": True, ".parquet": True, ".safetensors": True}


class Place(NamedTuple):
    """A file of feature vectors, and the array or column in it; None for the one it has."""

    path: Path
    name: str | None

    def __str__(self) -> str:
        return f"{self.path}:{self.name}" if self.name else str(self.path)


def place(given: str | os.PathLike[str]) -> Place:
    """The place that FILE or FILE:NAME means.

    Raises ValueError if the file does not exist, is of no known format, or holds no named arrays.
    """
    path, name = Path(given), None
    if not path.is_file():
        head, colon, tail = os.fspath(given).rpartition(":")
        if colon and tail and is_vector_file(head):
            path, name = Path(head), tail
    if not path.is_file():
        what = "is a folder, not a file of vectors" if path.is_dir() else "does not exist"
        raise ValueError(f"{path} {what}")
    if not is_vector_file(path):
        raise ValueError(f"{path} must be a file of vectors, {', '.join(SUFFIXES)}")
    if name is not None and not SUFFIXES[path.suffix.lower()]:
        raise ValueError(f"{path}:{name} names an array, but {path} holds one without a name")
    return Place(path, name)


def check_free(path: str | os.PathLike[str], overwrite: bool) -> None:
    """Raises FileExistsError if the file is there, unless `overwrite`; OSError if it could not be
    written."""
    check_file(Path(path))
    if Path(path).exists() and not overwrite:
        raise FileExistsError(f"{path} exists already; choose another file or overwrite it")


def is_vector_file(path: str | os.PathLike[str]) -> bool:
    """Whether the name has the suffix of a format that can hold vectors."""
    return Path(path).suffix.lower() in SUFFIXES
