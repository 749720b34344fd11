"""What an encoding of images leaves: a gallery of codes, or a file of feature vectors."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Protocol

import numpy as np

from ..codes import code_bytes
from ..data import vector_files
from ..files import atomic_write
from ..search.gallery import Piece, write_gallery
from ..search.gallery_files import check_free


class Product(Protocol):
    """The result of an encoding, whose values are an array (N, width) with names and labels.

    output: which output of the network they are. name: of the result, in messages.
    """

    output: ClassVar[str]
    name: ClassVar[str]

    @property
    def path(self) -> Path: ...

    @property
    def width(self) -> int: ...

    def check_free(self, overwrite: bool) -> None:
        """Raises FileExistsError if it is there, unless `overwrite`; OSError if it could not be
        written."""

    def info(self) -> dict[str, Any] | None:
        """How the finished result was made, {"count", ...}; None if there is none."""

    def write(self, pieces: Iterable[Piece], count: int, info: dict[str, Any]) -> None:
        """Write the result from (values, names, labels) of consecutive images, atomically."""


@dataclass(frozen=True)
class GalleryProduct:
    """A gallery, see `search.gallery`. index: also write the index file."""

    output: ClassVar[str] = "codes"
    name: ClassVar[str] = "gallery"
    path: Path
    bits: int
    index: bool = False

    @property
    def width(self) -> int:
        return code_bytes(self.bits)

    def check_free(self, overwrite: bool) -> None:
        check_free(self.path, overwrite)

    def info(self) -> dict[str, Any] | None:
        about = self.path / "gallery.json"
        if not about.is_file():
            return None
        found: dict[str, Any] = json.loads(about.read_text("utf-8"))
        return found

    def write(self, pieces: Iterable[Piece], count: int, info: dict[str, Any]) -> None:
        write_gallery(self.path, pieces, self.bits, count, info, index=self.index)


@dataclass(frozen=True)
class FeaturesProduct:
    """An .npz file: features float32 (N, F), names (N,), labels (N,), and about, JSON text.

    Nothing in it is compressed, so that the features can be memory-mapped.
    """

    output: ClassVar[str] = "features"
    name: ClassVar[str] = "file of features"
    path: Path
    width: int

    def check_free(self, overwrite: bool) -> None:
        vector_files.check_free(self.path, overwrite)

    def info(self) -> dict[str, Any] | None:
        if not self.path.is_file():
            return None
        try:
            with np.load(self.path, allow_pickle=False) as arrays:
                found: dict[str, Any] = json.loads(str(arrays["about"]))
        except (OSError, KeyError, ValueError, zipfile.BadZipFile):
            return None
        return found

    def write(self, pieces: Iterable[Piece], count: int, info: dict[str, Any]) -> None:
        names: list[str] = []
        labels: list[str] = []
        header = {"descr": "<f4", "fortran_order": False, "shape": (count, self.width)}
        with atomic_write(self.path) as file, zipfile.ZipFile(file, "w") as archive:
            with archive.open(_member("features"), "w", force_zip64=True) as member:
                np.lib.format.write_array_header_1_0(member, header)
                for values, some, classes in pieces:
                    member.write(np.ascontiguousarray(values, "<f4").tobytes())
                    names += some
                    labels += classes
            about = json.dumps({"count": count, **info})
            for name, value in (("names", names), ("labels", labels), ("about", about)):
                with archive.open(_member(name), "w", force_zip64=True) as member:
                    np.lib.format.write_array(member, np.array(value, np.str_), allow_pickle=False)


def _member(name: str) -> zipfile.ZipInfo:
    # Without the time, so that equal contents are equal files.
    return zipfile.ZipInfo(f"{name}.npy")
