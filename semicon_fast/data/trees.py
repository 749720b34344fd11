"""What the readers of official folder layouts share: roots, lists, counts."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path


def existing_root(
    root: str | os.PathLike[str], marker: str = "", nested: Sequence[str] = ()
) -> Path:
    """The folder that holds `marker`: root itself or one of its sub-folders `nested`.

    Raises ValueError when the root is no folder or none of them holds the marker.
    """
    base = Path(root).expanduser()
    if not base.is_dir():
        found = "a file" if base.exists() else "nothing"
        raise ValueError(f"root must be an existing folder, found {found} at {base}")
    for folder in (base, *(base / name for name in nested)):
        if (folder / marker).exists():
            return folder
    raise ValueError(f"{base} has no {marker}, which the official layout of this data set has")


def read_lines(path: Path) -> list[str]:
    """The lines of a text file that are not blank, stripped; ValueError names a missing file."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise ValueError(f"there is no file {path}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} could not be read: {error}") from error
    lines = [line.strip() for line in text.splitlines()]
    return [line for line in lines if line]


def read_pairs(path: Path) -> dict[str, str]:
    """A file of lines "key value with spaces" as a dict in file order."""
    pairs: dict[str, str] = {}
    for number, line in enumerate(read_lines(path), 1):
        key, _, value = line.partition(" ")
        if not value:
            raise ValueError(f'{path} line {number} must be "key value", got {line!r}')
        if key in pairs:
            raise ValueError(f"{path} line {number} repeats the key {key!r}")
        pairs[key] = value.strip()
    return pairs


def check_counts(name: str, official: Mapping[str, int], found: Mapping[str, int]) -> None:
    """Raises ValueError unless every count is the official one."""
    if any(official[key] != found[key] for key in official):
        wanted = ", ".join(f"{official[key]:,} {key}" for key in official)
        got = ", ".join(f"{found[key]:,} {key}" for key in official)
        raise ValueError(
            f"{name} must have {wanted}, found {got}; check_counts=False takes it as it is"
        )
