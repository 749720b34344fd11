"""Checkpoint of an unfinished encoding: the list of images and the parts that are done.

    OUTPUT.parts/
        catalog.jsonl           one image per line: name, label, file, place in the file
        manifest.json           inputs, network, options, and the offset of each part in the catalog
        part-000000.safetensors codes or features of the decoded images, their positions in the part

Every file is written atomically. The catalog is written once, so that a part always has the same
images, even if their folders change meanwhile.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save as serialise

from ..data.catalog import Entry
from ..data.passed_over import PassedOver, in_order
from ..files import atomic_write, utf8_path

FORMAT = 1


class Part(NamedTuple):
    """The result of one part.

    values: packed codes, uint8 (n, bytes), or features, float32 (n, F). kept: int64 (n,), ascending
    positions of their images in the part. broken: "path (cause)" of the images that could not be
    decoded.
    """

    values: np.ndarray
    kept: np.ndarray
    broken: list[str]


class EncodingCheckpoint:
    """The checkpoint folder next to `output`.

    One process calls `create` or `check_inputs`; every process calls `open` and writes its parts.

    Attributes:
        output: the gallery's folder or the file of features.
        folder: the folder of the checkpoint, OUTPUT.parts.
        manifest: content of manifest.json, after `create` or `open`.
    """

    def __init__(self, output: Path) -> None:
        self.output = Path(output)
        self.folder = self.output.parent / f"{self.output.name}.parts"
        self.manifest: dict[str, Any] = {}

    @property
    def exists(self) -> bool:
        """Whether there is a checkpoint with a complete catalog."""
        return (self.folder / "manifest.json").is_file()

    def create(
        self,
        entries: Iterable[Entry],
        inputs: dict[str, Any],
        part_images: int,
        passed: PassedOver,
    ) -> None:
        """Replace the folder by a new checkpoint without finished parts.

        Args:
            entries: the images.
            inputs: entries of the manifest, JSON-serialisable, for `check_inputs` on resume.
            part_images: images per part.
            passed: what the listing passed over, complete after the last entry.
        """
        self.remove()
        self.folder.mkdir(parents=True)
        starts, count, position = [], 0, 0
        try:
            with atomic_write(self.folder / "catalog.jsonl") as file:
                for count, entry in enumerate(entries, 1):
                    if (count - 1) % part_images == 0:
                        starts.append(position)
                    line = json.dumps(entry, ensure_ascii=True).encode() + b"\n"
                    position += file.write(line)
            manifest = {"format": FORMAT, **inputs, "count": count, "part_images": part_images}
            manifest |= {"passed_over": passed.to_dict(), "notes": in_order(passed.notes)}
            with atomic_write(self.folder / "manifest.json", "w") as file:
                json.dump({**manifest, "starts": starts}, file)
        except BaseException:
            self.remove()  # no checkpoint: nothing could be resumed from it
            raise
        self.open()

    def open(self) -> None:
        """Read the manifest. Raises ValueError if it is damaged or has a newer format."""
        path = self.folder / "manifest.json"
        try:
            self.manifest = json.loads(path.read_text("utf-8"))
            if self.manifest["format"] > FORMAT:
                raise ValueError(
                    f"its format {self.manifest['format']} is newer than the supported {FORMAT}"
                )
        except (OSError, ValueError, KeyError) as error:
            raise ValueError(f"{path} cannot be read: {error}") from error

    def check_inputs(self, inputs: dict[str, Any]) -> None:
        """Raises ValueError if the manifest differs from `inputs`, which was given to `create`."""
        for name, value in inputs.items():
            then = self.manifest.get(name)
            if then != json.loads(json.dumps(value)):
                raise ValueError(
                    f"{self.folder} was made with another {name}: {_shortened(then)} then, "
                    f"{_shortened(value)} now; encode to another folder, or start again without "
                    "--resume and with --overwrite"
                )

    @property
    def parts(self) -> range:
        """The numbers of all parts."""
        return range(len(self.manifest["starts"]))

    def image_count(self, part: int) -> int:
        """The number of images in a part, including those that cannot be decoded."""
        size = self.manifest["part_images"]
        return min(size, self.manifest["count"] - part * size)

    def entries(self, part: int) -> tuple[Entry, ...]:
        """The catalog's entries of a part."""
        start = self.manifest["starts"][part]
        return _entries(self.folder / "catalog.jsonl", start, self.image_count(part))

    def missing_parts(self) -> list[int]:
        """The parts that are not finished."""
        names = set(os.listdir(self.folder))
        return [part for part in self.parts if _part_file(part) not in names]

    def discard_broken_parts(self) -> None:
        """Delete the finished parts with images that could not be decoded, to encode them again."""
        for part in sorted(set(self.parts) - set(self.missing_parts())):
            if self.read_part(part).broken:
                (self.folder / _part_file(part)).unlink()

    def write_part(self, part: int, content: Part) -> None:
        """Write a finished part."""
        values = np.ascontiguousarray(content.values)
        tensors = {self.manifest["output"]: values, "kept": content.kept}
        with atomic_write(self.folder / _part_file(part)) as file:
            file.write(serialise(tensors, {"broken": json.dumps(content.broken)}))

    def read_part(self, part: int) -> Part:
        """Read a finished part. Raises ValueError if the file is damaged."""
        path = self.folder / _part_file(part)
        try:
            with utf8_path(path) as name, safe_open(name, "numpy") as file:
                broken = json.loads((file.metadata() or {})["broken"])
                values = file.get_tensor(self.manifest["output"])
                found = Part(values, file.get_tensor("kept"), broken)
        except (SafetensorError, OSError, KeyError, ValueError) as error:
            raise ValueError(f"{path} is damaged ({error}); remove it and resume") from error
        shape = len(found.kept), self.manifest["width"]
        if values.shape != shape or len(found.kept) + len(broken) != self.image_count(part):
            raise ValueError(f"{path} has values of shape {values.shape}, expected {shape}")
        return found

    def pieces(self) -> Iterator[tuple[np.ndarray, Sequence[str], Sequence[str]]]:
        """(values, image names, labels) of every part, in order."""
        for part in self.parts:
            found, entries = self.read_part(part), self.entries(part)
            kept = [entries[i] for i in found.kept.tolist()]
            yield found.values, [entry.name for entry in kept], [entry.label for entry in kept]

    def remove(self) -> None:
        """Delete the folder; the manifest goes first, so that a half-deleted folder does not count
        as a checkpoint."""
        (self.folder / "manifest.json").unlink(missing_ok=True)
        shutil.rmtree(self.folder, ignore_errors=True)


@lru_cache(maxsize=2)
def _entries(catalog: Path, start: int, count: int) -> tuple[Entry, ...]:
    with open(catalog, "rb") as file:
        file.seek(start)
        lines = [json.loads(line) for line in islice(file, count)]
    return tuple(Entry(name, label, path, tuple(place)) for name, label, path, place in lines)


def _part_file(part: int) -> str:
    return f"part-{part:06}.safetensors"


def _shortened(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 120 else f"{text[:117]}..."
