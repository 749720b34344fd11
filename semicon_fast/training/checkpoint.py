"""Checkpoints of a run: one folder each, written atomically.

OUTPUT/checkpoints/NNNNNN[-eEE[-bBBBBBB]] (completed iterations, epochs, batches) contains
tensors.safetensors and state.json. A checkpoint is written to a temporary folder, flushed to disk
and renamed; older ones are removed only then. Nothing in it is unpickled.
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

from ..files import sync_directory, utf8_path

KEEP = 2
VERSION = 1
BLOCK = 1 << 22


class Position(NamedTuple):
    """Where training continues: the next outer iteration, epoch and batch, counted from 0.

    updated: this iteration's code update is already done, its evaluation is next.
    """

    iteration: int = 0
    epoch: int = 0
    batch: int = 0
    updated: bool = False

    def name(self) -> str:
        """Folder name of the checkpoint at this position."""
        text = f"{self.iteration:06d}"
        if self.epoch or self.batch:
            text += f"-e{self.epoch:02d}"
        if self.batch:
            text += f"-b{self.batch:06d}"
        return text + ("-u" if self.updated else "")


class Checkpoint(NamedTuple):
    """A checkpoint that was read: its folder, tensors by name, and the content of state.json."""

    path: Path
    tensors: dict[str, Tensor]
    state: dict[str, Any]


class OtherVersion(ValueError):
    """The checkpoint has another format version than this library reads."""


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


def list_checkpoints(folder: Path) -> list[Path]:
    """Checkpoint folders, oldest first."""
    if not folder.is_dir():
        return []
    found = [(position_of(path.name), path) for path in folder.iterdir() if path.is_dir()]
    return [path for position, path in sorted((p, q) for p, q in found if p is not None)]


def save(
    folder: Path, position: Position, tensors: dict[str, Tensor], state: dict[str, Any]
) -> Path:
    """Writes a checkpoint and removes all but the newest KEEP.

    Raises OSError naming the checkpoint and the cause; older checkpoints are then left untouched.
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
        _write_synced(partial / "state.json", json.dumps(content, indent=1))
        sync_directory(partial)
        _rename(partial, path)
    except (OSError, SafetensorError) as error:
        shutil.rmtree(partial, ignore_errors=True)
        raise _save_error(error, path) from error
    for old in list_checkpoints(folder)[:-KEEP]:
        shutil.rmtree(old, ignore_errors=True)
    return path


def newest(folder: Path, warn: Callable[[str], None]) -> Checkpoint | None:
    """The newest usable checkpoint, or None; `warn` is called for each newer unusable one.

    Removes what interrupted saves left behind.
    """
    if folder.is_dir():
        for partial in folder.glob(".*.partial"):
            shutil.rmtree(partial, ignore_errors=True)
    found, problems = newest_usable(folder)
    for problem in problems:
        warn(f"{problem}; using an older one")
    return found


def newest_usable(folder: Path) -> tuple[Checkpoint | None, list[str]]:
    """(the newest usable checkpoint or None, what is wrong with the newer ones).

    Changes no files, since the run may still be in progress.
    """
    problems: list[str] = []
    for path in reversed(list_checkpoints(folder)):
        try:
            return read(path), problems
        except OtherVersion as error:
            problems.append(f"checkpoint {path} {error}")
        except (OSError, SafetensorError, ValueError, KeyError) as error:
            problems.append(f"checkpoint {path} is damaged ({error})")
    return None, problems


def read(path: Path) -> Checkpoint:
    """Read the checkpoint in a folder. Raises ValueError, OSError, ... if it is damaged."""
    state = json.loads((path / "state.json").read_text("utf-8"))
    if not isinstance(state, dict):
        raise ValueError("its state.json is not a JSON object")
    if state["version"] != VERSION:
        raise OtherVersion(f"is of version {state['version']}, this library reads {VERSION}")
    file = path / "tensors.safetensors"
    if _crc32(file) != state["crc32"]:
        raise ValueError("the checksum of its tensors does not match")
    with utf8_path(file) as name:
        return Checkpoint(path, load_file(name), state)


def _rename(partial: Path, path: Path) -> None:
    old = path.parent / f".{path.name}.old"
    shutil.rmtree(old, ignore_errors=True)
    if path.exists():
        os.replace(path, old)
    os.replace(partial, path)
    sync_directory(path.parent)
    shutil.rmtree(old, ignore_errors=True)


def _save_error(error: Exception, path: Path) -> OSError:
    kept = list_checkpoints(path.parent)
    number = getattr(error, "errno", None)
    full = number == 28 or "No space left" in str(error)
    cause = "the disk is full" if full else getattr(error, "strerror", None) or str(error)
    last = f"the last good checkpoint is {kept[-1]}" if kept else "there is no earlier checkpoint"
    return OSError(number or 5, f"could not save checkpoint {path}: {cause}; {last}")


def _write_synced(path: Path, text: str) -> None:
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
