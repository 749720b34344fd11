"""Galleries: folders with the codes of images, their names, labels and encoding settings."""

import csv
import json
import os
import shlex
import shutil
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ..codes import check_codes, code_bytes
from ..files import sync_directory, temporary_prefix
from ..text import check_encodable, read_rows
from .gallery_files import FORMAT, check_free, read_about
from .index import HammingIndex


@dataclass
class Gallery:
    """Codes of N images with the images' names, their labels, and how the codes were made.

    Args:
        codes: uint8 (N, ceil(bits / 8)), as made by `pack_codes`.
        bits: length of a code.
        images: N names, usually paths; as Python reads them from the file system, any bytes.
        labels: N class names, "" where unknown; empty for none at all.
        info: how the codes were made (JSON values).

    On disk it is a folder with `codes.npy` (readable by NumPy), `images.csv` (id, image, label; in
    UTF-8, with bytes of file names that are not UTF-8 as they are), `gallery.json` and, if it was
    built, the index file `index.hamming`.
    """

    codes: np.ndarray
    bits: int
    images: list[str]
    labels: list[str] = field(default_factory=list)
    info: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_codes(self.codes, self.bits, "codes")
        self.labels = self.labels or [""] * len(self.images)
        if not len(self.codes) == len(self.images) == len(self.labels):
            raise ValueError(
                f"Gallery: codes, images and labels must be equally many, got {len(self.codes)}, "
                f"{len(self.images)} and {len(self.labels)}"
            )

    def __len__(self) -> int:
        return len(self.images)

    def save(self, folder: str | os.PathLike[str], *, overwrite: bool = False) -> None:
        """Writes a temporary folder next to `folder` and renames it.

        Raises FileExistsError if `folder` is a file or not empty, unless `overwrite`.
        """
        check_free(folder, overwrite)
        write_gallery(
            folder, [(self.codes, self.images, self.labels)], self.bits, len(self), self.info
        )

    @classmethod
    def open(cls, folder: str | os.PathLike[str]) -> "Gallery":
        """Reads a gallery; its codes are memory-mapped.

        Raises ValueError if the folder does not hold a readable gallery.
        """
        path = Path(folder)
        about = read_about(path)
        try:
            codes = np.load(path / "codes.npy", mmap_mode="r", allow_pickle=False)
            with open(path / "images.csv", newline="", **_TEXT) as file:
                rows = read_rows(file)
            images, labels = [row["image"] for row in rows], [row["label"] for row in rows]
            bits = int(about.pop("bits"))
            count = int(about.pop("count"))
        except (OSError, ValueError, KeyError, EOFError) as error:
            raise ValueError(f"{path} is no readable gallery: {error}") from error
        if not len(codes) == len(rows) == count:
            raise ValueError(
                f"{path} is damaged: gallery.json counts {count} images, images.csv {len(rows)}, "
                f"codes.npy {len(codes)}"
            )
        about.pop("format", None)
        return cls(codes, bits, images, labels, about)

    @property
    def bit_groups(self) -> dict[str, list[int]]:
        """Name of each part -> [first bit, end bit], from the model that made the codes.

        Without such information, one group with all bits.
        """
        groups: dict[str, list[int]] = self.info.get("bit_groups") or {"global": [0, self.bits]}
        return groups

    def build_index(self) -> HammingIndex:
        """An index of the codes in memory, with ids 0..N - 1 and the gallery's bit groups."""
        index = HammingIndex(self.bits, bit_groups=self.bit_groups)
        index.add(np.ascontiguousarray(self.codes))
        return index


Piece = tuple[np.ndarray, Sequence[str], Sequence[str]]
# How images.csv is written and read.
_TEXT: Any = {"encoding": "utf-8", "errors": "surrogateescape"}


def write_gallery(
    folder: str | os.PathLike[str],
    pieces: Iterable[Piece],
    bits: int,
    count: int,
    info: dict[str, Any],
    *,
    index: bool = False,
) -> None:
    """Writes a gallery of `count` images piece by piece, then replaces `folder` by it.

    Args:
        folder: where the gallery goes. If anything fails it keeps its old content.
        pieces: (codes, images, labels) of consecutive images; only one is in memory at a time.
        bits: length of a code.
        count: number of images in all pieces together.
        info: how the codes were made (JSON values).
        index: whether to write the index file as well.

    Raises ValueError if an image or label is neither text nor a file name.
    """
    target = Path(folder)
    target.parent.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(prefix=temporary_prefix(target.name), dir=target.parent))
    try:
        _write_pieces(staging, pieces, bits, count)
        about = {"format": FORMAT, "bits": bits, "count": count, **info}
        (staging / "gallery.json").write_text(json.dumps(about, indent=1) + "\n", "utf-8")
        if index:
            built = HammingIndex(bits)
            built.add(np.load(staging / "codes.npy"))
            built.save(staging / "index.hamming")
        for file in staging.iterdir():
            with open(file, "rb") as written:
                os.fsync(written.fileno())
        staging.chmod(0o755)
        _put(staging, target)
    except BaseException:
        shutil.rmtree(staging, ignore_errors=True)
        raise


def _write_pieces(folder: Path, pieces: Iterable[Piece], bits: int, count: int) -> None:
    shape = count, code_bytes(bits)
    header = {"descr": "|u1", "fortran_order": False, "shape": shape}
    number = 0
    with (
        open(folder / "codes.npy", "wb") as codes_file,
        open(folder / "images.csv", "w", newline="", **_TEXT) as images_file,
    ):
        np.lib.format.write_array_header_1_0(codes_file, header)
        rows = csv.writer(images_file)
        rows.writerow(("id", "image", "label"))
        for codes, images, labels in pieces:
            check_codes(codes, bits, "codes")
            codes_file.write(np.ascontiguousarray(codes).tobytes())
            named = list(zip(images, labels, strict=True))
            if len(named) != len(codes):
                raise ValueError(f"a piece has {len(codes)} codes for {len(named)} images")
            for i, (image, label) in enumerate(named, number):
                check_encodable(f"image {i}", image)
                check_encodable(f"the label of image {i}", label)
            rows.writerows((number + i, *row) for i, row in enumerate(named))
            number += len(named)
    if number != count:
        raise ValueError(f"pieces must hold {count} images in all, got {number}")


def _put(staging: Path, target: Path) -> None:
    """Renames staging to target; if that fails, a previous target is restored."""
    if not target.exists():
        os.rename(staging, target)
    else:
        aside = Path(tempfile.mkdtemp(prefix=temporary_prefix(target.name), dir=target.parent))
        try:
            os.rename(target, aside / "old")
            os.rename(staging, target)
        except BaseException:
            if (aside / "old").exists():
                (aside / "old").replace(target)
            raise
        finally:
            shutil.rmtree(aside, ignore_errors=True)
    sync_directory(target.parent)


def open_index(folder: str | os.PathLike[str], gallery: Gallery) -> HammingIndex:
    """The index file of the folder if there is one, else an index built from the gallery's codes.

    Raises ValueError if the index file does not match the gallery.
    """
    path = Path(folder) / "index.hamming"
    if not path.is_file():
        return gallery.build_index()
    index = HammingIndex.load(path)
    if index.bits != gallery.bits or len(index) != len(gallery):
        raise ValueError(
            f"{path} holds {len(index)} codes of {index.bits} bits, its gallery {len(gallery)} of "
            f"{gallery.bits}; build it again with `semicon-fast index {shlex.quote(str(folder))}`"
        )
    index.bit_groups = gallery.bit_groups
    return index
