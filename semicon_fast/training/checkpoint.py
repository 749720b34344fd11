"""Checkpoints: a folder each, complete or not there at all.

OUTPUT/checkpoints/NNNNNN[-eEE[-bBBBBBB]] (complete iterations, epochs, batches) holds
tensors.safetensors and state.json. A checkpoint is written beside its place, flushed to disk and
renamed; older ones are removed only then. Nothing in it is unpickled.
"""

import json
import os
import shutil
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from ..files import sync_directory

KEEP = 2
VERSION = 1
BLOCK = 1 << 22


class Position(NamedTuple):
    """What comes next: batch `batch` of epoch `epoch` of outer iteration `iteration`, from 0.

    updated: the codes of this iteration are updated already, its evaluation is next.
    """

    iteration: int = 0
    epoch: int = 0
    batch: int = 0
    updated: bool = False

    def name(self) -> str:
        """The name of its folder."""
        text = f"{self.iteration:06d}"
        if self.epoch or self.batch:
            text += f"-e{self.epoch:02d}"
        if self.batch:
            text += f"-b{self.batch:06d}"
        return text + ("-u" if self.updated else "")


class Checkpoint(NamedTuple):
    """tensors by name, JSON-able state."""

    path: Path
    tensors: dict[str, Tensor]
    state: dict[str, Any]


class OtherVersion(ValueError):
    """A checkpoint that another version of this library wrote."""


def position_of(name: str) -> Position | None:
    """Inverse of `Position.name`; None for other names."""
    parts = name.split("-")
    if not (parts[0].isdigit() and len(parts[0]) >= 6):
        return None
    values = {"e": 0, "b": 0}
    updated = parts[-1] == "u"
    for part in parts[1 : len(parts) - updated]:
        if part[:1] not in values or not part[1:].isdigit():
            return None
        values[part[0]] = int(part[1:])
    return Position(int(parts[0]), values["e"], values["b"], updated)


def present(folder: Path) -> list[Path]:
    """Checkpoint folders, oldest first."""
    if not folder.is_dir():
        return []
    found = [(position_of(path.name), path) for path in folder.iterdir() if path.is_dir()]
    return [path for position, path in sorted((p, q) for p, q in found if p is not None)]


def save(
    folder: Path, position: Position, tensors: dict[str, Tensor], state: dict[str, Any]
) -> Path:
    """Writes a checkpoint and removes all but the newest KEEP.

    Raises OSError with a sentence that names it and the cause; older ones are then untouched.
    """
    path = folder / position.name()
    partial = folder / f".{path.name}.partial"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir()
        file = partial / "tensors.safetensors"
        save_file({name: t.detach().cpu().contiguous() for name, t in tensors.items()}, file)
        _sync(file)
        content = {**state, "version": VERSION, "position": list(position), "crc32": _crc32(file)}
        _write(partial / "state.json", json.dumps(content, indent=1))
        sync_directory(partial)
        _rename(partial, path)
    except (OSError, SafetensorError) as error:
        shutil.rmtree(partial, ignore_errors=True)
        raise _explained(error, path) from error
    for old in present(folder)[:-KEEP]:
        shutil.rmtree(old, ignore_errors=True)
    return path


def newest(folder: Path, warn: Callable[[str], None]) -> Checkpoint | None:
    """The newest complete checkpoint, None without any; damaged ones are named to `warn`."""
    if folder.is_dir():
        for rest in folder.glob(".*.partial"):
            shutil.rmtree(rest, ignore_errors=True)
    found, problems = newest_usable(folder)
    for problem in problems:
        warn(f"{problem}; taking an older one")
    return found


def newest_usable(folder: Path) -> tuple[Checkpoint | None, list[str]]:
    """(the newest complete checkpoint or None, what is wrong with those after it).

    Changes nothing: the run may be going on.
    """
    problems: list[str] = []
    for path in reversed(present(folder)):
        try:
            return read(path), problems
        except OtherVersion as error:
            problems.append(f"checkpoint {path} {error}")
        except (OSError, SafetensorError, ValueError, KeyError) as error:
            problems.append(f"checkpoint {path} is damaged ({error})")
    return None, problems


def read(path: Path) -> Checkpoint:
    """The checkpoint in the folder `path`. Raises ValueError, OSError, ... for a damaged one."""
    state = json.loads((path / "state.json").read_text("utf-8"))
    if not isinstance(state, dict):
        raise ValueError("its state.json holds no object")
    if state["version"] != VERSION:
        raise OtherVersion(f"is of version {state['version']}, this library reads {VERSION}")
    file = path / "tensors.safetensors"
    if _crc32(file) != state["crc32"]:
        raise ValueError("the checksum of its tensors does not match")
    return Checkpoint(path, load_file(file), state)


def _rename(partial: Path, path: Path) -> None:
    old = path.parent / f".{path.name}.old"
    shutil.rmtree(old, ignore_errors=True)
    if path.exists():
        os.replace(path, old)
    os.replace(partial, path)
    sync_directory(path.parent)
    shutil.rmtree(old, ignore_errors=True)


def _explained(error: Exception, path: Path) -> OSError:
    kept = present(path.parent)
    number = getattr(error, "errno", None)
    full = number == 28 or "No space left" in str(error)
    cause = "the disk is full" if full else getattr(error, "strerror", None) or str(error)
    last = f"the last good checkpoint is {kept[-1]}" if kept else "no checkpoint was there before"
    return OSError(number or 5, f"could not save checkpoint {path}: {cause}; {last}")


def _write(path: Path, text: str) -> None:
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def _sync(path: Path) -> None:
    with open(path, "rb+") as file:
        os.fsync(file.fileno())


def _crc32(path: Path) -> int:
    value = 0
    with open(path, "rb") as file:
        while block := file.read(BLOCK):
            value = zlib.crc32(block, value)
    return value
