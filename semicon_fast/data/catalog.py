"""Lists the images to encode in files, folders, text lists, tar shards and Parquet files."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from torch import Tensor

from . import listing, naming, parquet
from .decode import LISTED_FORMATS, BrokenFile, BrokenImageError, decode, decode_bytes
from .lists import LINE
from .naming import SHARD_SUFFIXES, CommonRoot
from .passed_over import NUMBERLESS, PassedOver
from .readers import read_lines
from .tar import TarFiles

COMPRESSED_SUFFIXES = (".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar.zst")


class Entry(NamedTuple):
    """One image to encode.

    name: the image's name in the gallery. label: its class name, or "". file: the file that
    contains it. place: where in the file: () the whole file, (offset, length) in bytes in a tar
    file, (row group, row) in a Parquet file.
    """

    name: str
    label: str
    file: str
    place: tuple[int, ...] = ()

    @property
    def size(self) -> int | None:
        """Bytes of an image in a tar file; None elsewhere, where the entry does not say it."""
        return self.place[1] if self.place and not self._in_parquet else None

    @property
    def _in_parquet(self) -> bool:
        return self.file.lower().endswith(".parquet")

    def image(self) -> Tensor:
        """The decoded image, uint8 (3, H, W) RGB. Raises BrokenImageError with the name."""
        if not self.place:
            return decode(self.file)
        try:
            return decode_bytes(self.content(), formats=LISTED_FORMATS)
        except BrokenImageError as error:
            broken = [BrokenFile(self.name, file.cause) for file in error.broken]
            raise BrokenImageError.of(broken) from error

    def content(self) -> bytes:
        """The bytes of an image in an archive. Raises BrokenImageError with the name."""
        first, second = self.place
        try:
            if self._in_parquet:
                found = parquet.content(self.file, first, second)
                if found is None:
                    raise OSError("the row has no image")
                return found
            with open(self.file, "rb") as file:
                file.seek(first)
                return file.read(second)
        except OSError as error:
            raise BrokenImageError.of([BrokenFile(self.name, str(error))]) from error


def list_images(
    paths: Sequence[str | os.PathLike[str]], passed: PassedOver | None = None
) -> Iterator[Entry]:
    """The images of each path, in order, as a stream that is never in memory as a whole.

    A path can be
    - a folder: all images below it, as `listing` says; if there are none, the shards (.tar,
      .parquet) below it;
    - a .txt file: one path per line, relative to the list's folder, optionally followed by numbers
      as in `lists`, which become the label; a line without is labelled by the first folder below
      the common folder of all lines, and -1 is an image without a label;
    - a .tar file: every image in it, as `tar` says; all tar files share one root;
    - a .parquet file: the column of image bytes, or of {bytes, path} structs (Hugging Face), with
      labels as `parquet` says;
    - any other file: one image, labelled by the name of the folder that holds it.

    Args:
        paths: the paths.
        passed: counts what is passed over, complete after the last image.

    Raises:
        ValueError: a path does not exist, contains no image or is damaged. For what lies in an
            image folder or a Parquet file this comes when the stream reaches it.
    """
    passed = PassedOver() if passed is None else passed
    sources = [(path, _files_of(path, passed)) for path in map(Path, paths)]
    tars = [file for _, files in sources for file in files if _suffix(file) == ".tar"]
    readers: dict[str, Callable[[str], Iterator[Entry]]] = {
        ".txt": lambda file: _text_list(file, passed),
        ".parquet": _parquet,
    }
    if tars:
        opened = TarFiles([os.path.realpath(file) for file in tars], passed)
        readers[".tar"] = lambda file: _tar(file, opened, passed)
    for path, files in sources:
        empty = True
        found = (entry for file in files for entry in readers.get(_suffix(file), _image)(file))
        for entry in found if files else _folder(path, passed):
            empty = False
            yield entry
        if empty:
            raise listing.no_image(path, passed, (*naming.FORMATS, *SHARD_SUFFIXES))


def locate(names: Sequence[str]) -> list[Entry]:
    """The images that have these names in a gallery, without labels; in the order of the names.

    Reads through each archive that holds some of them once. An image that is no longer there is
    broken when it is decoded.

    Raises:
        ValueError: an archive is damaged.
    """
    archives = {name: archive_of(name) for name in names if not os.path.isfile(name)}
    found = {}
    for archive in dict.fromkeys(filter(None, archives.values())):
        entries = list_images([archive])
        found.update({entry.name: entry for entry in entries if archives.get(entry.name)})
    return [found.get(name, Entry(name, "", name))._replace(label="") for name in names]


def archive_of(name: str) -> str | None:
    """The archive in which an image of this name is, None if there is none."""
    for mark in re.finditer(r"\.tar(?=/)|\.parquet(?=#\d+$)", name, re.IGNORECASE):
        if os.path.isfile(name[: mark.end()]):
            return name[: mark.end()]
    return None


def _files_of(path: Path, passed: PassedOver) -> list[str]:
    """The file itself, or the shards below a folder without images; none for one with images."""
    if not path.is_dir():
        if not path.is_file():
            raise ValueError(f"{path} does not exist")
        if path.name.lower().endswith(COMPRESSED_SUFFIXES):
            raise ValueError(
                f"{path} is compressed, which prevents random access to its images; "
                "decompress it first"
            )
        return [os.fspath(path)]
    if next(listing.images(path), None) is not None:
        return []
    inside = PassedOver()
    found = listing.shards(path, inside)
    # Without shards, `listing.images` counts what is passed over.
    if found:
        passed.counts.update(inside.counts)
    return found


def _suffix(file: str) -> str:
    return os.path.splitext(file)[1].lower()


def _folder(path: Path, passed: PassedOver) -> Iterator[Entry]:
    for found in listing.images(path, passed):
        yield Entry(found.file, found.label, found.file)


def _image(file: str) -> Iterator[Entry]:
    found = listing.single(file)
    yield Entry(found.file, found.label, found.file)


def _text_list(file: str, passed: PassedOver) -> Iterator[Entry]:
    folder, root, lines = os.path.dirname(os.path.abspath(file)), CommonRoot(), []
    for line in read_lines(Path(file)):
        found = LINE.fullmatch(line)
        name, label = (found["path"], found["labels"].strip()) if found else (line, None)
        path = os.path.normpath(os.path.join(folder, name))
        if found and not os.path.exists(path) and os.path.exists(os.path.join(folder, line)):
            # The numbers belong to the file's name.
            path, label = os.path.normpath(os.path.join(folder, line)), None
        lines.append((path, label))
        root.add(path.split(os.sep))
    labelled = any(label is not None for _, label in lines)
    for path, label in lines:
        if label is None:
            label = root.label(path.split(os.sep))
            if labelled:
                passed.note(NUMBERLESS)
        real = os.path.realpath(path)
        yield Entry(real, "" if label == str(parquet.NO_LABEL) else label, real)


def _tar(file: str, opened: TarFiles, passed: PassedOver) -> Iterator[Entry]:
    real = os.path.realpath(file)
    for name, label, place in opened.images(real, passed):
        yield Entry(f"{real}/{name}", label, real, place)


def _parquet(file: str) -> Iterator[Entry]:
    real = os.path.realpath(file)
    for number, label, place in parquet.rows(real):
        yield Entry(f"{real}#{number}", label, real, place)
