"""Images in tar files, listed as those in folders are, from headers and label files only.

Hard links are images with their target's data, and so are symbolic links whose target is not listed
itself. Of members of one name the last counts, as when the archive is unpacked. A tar file that is
damaged or cut short is refused, wherever that is; one that ends after a whole member without an end
mark, as some writers leave it, is read and noted.
"""

from __future__ import annotations

import os
import posixpath
import tarfile
from array import array
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from .naming import CommonRoot, has_suffix, is_hidden
from .passed_over import (
    ARCHIVED_FOLDERS,
    DANGLING,
    ENDLESS,
    HIDDEN,
    LINKED_IMAGES,
    OTHER,
    OUTSIDE,
    REPLACED,
    PassedOver,
)

# Extension of a sample's label file in WebDataset: the file's name after the first dot.
LABEL_EXTENSION = "cls"
MAX_LABEL_BYTES = 2**20
# Links to links that are followed, as many as Linux follows.
MAX_LINKS = 40

Place = tuple[int, int]


class Image(NamedTuple):
    """An image in a tar file.

    name: of the member. label: see `TarFiles.images`. place: (offset, length) of its data in bytes.
    """

    name: str
    label: str
    place: Place


class _Member(NamedTuple):
    name: str
    place: Place


class _Link(NamedTuple):
    target: str
    hard: bool


class TarFiles:
    """Tar files whose images are labelled below one common root, so that shards agree.

    Reads the headers of all files once, and twice where there are links or repeated names. Keeps
    one entry a link or repeated name.

    Args:
        files: paths of the tar files.
        passed: notes files without an end mark.

    Raises:
        ValueError: a file is damaged or cut short.
    """

    def __init__(self, files: Sequence[str], passed: PassedOver) -> None:
        self._root = CommonRoot()
        self._tables = {file: _Table(file, self._root, passed) for file in dict.fromkeys(files)}

    def images(self, file: str, passed: PassedOver) -> Iterator[Image]:
        """The images of one of the files, in its order.

        The label is the text of the sample's .cls file (WebDataset), or else the first folder below
        the longest common folder of the images of all files; "" if the image lies in no folder.
        """
        for sample in _samples(self._tables[file].members(passed)):
            label, images = None, []
            for member in sample:
                if has_suffix(member.name):
                    images.append(member)
                elif _is_label(member):
                    label = _read(file, member.place).decode("utf-8", "surrogateescape").strip()
                else:
                    passed.add(OTHER)
            for name, place in images:
                own = self._root.label(name.split("/")) if label is None else label
                yield Image(name, own, place)


class _Table:
    """Where the links of a tar file lead to, and which of its repeated members counts."""

    def __init__(self, file: str, root: CommonRoot, passed: PassedOver) -> None:
        self._file = file
        self._links: dict[str, _Link] = {}
        # Of targets of links and of repeated names: place of the data, offset of the last header.
        self._places: dict[str, Place] = {}
        self._last: dict[str, int] = {}
        # Targets of links that are folders.
        self._folders: set[str] = set()
        hashes = array("q")
        for header in _headers(file, passed):
            if header.isdir():
                continue
            name = _name_of(header)
            hashes.append(hash(name))
            if header.issym() or header.islnk():
                self._links[name] = _link_of(header, name)
            elif _has_data(header) and has_suffix(name) and not _hidden(name):
                root.add(name.split("/"))
        self._find(_repeated(hashes))
        for name in self._links:
            if has_suffix(name) and not _hidden(name) and not isinstance(self._end(name), str):
                root.add(name.split("/"))

    def _find(self, repeated: set[int]) -> None:
        """Read the headers again for what links and repeated names need. repeated: hashes."""
        targets = {link.target for link in self._links.values()}
        if not targets and not repeated:
            return
        for header in _headers(self._file):
            name = _name_of(header)
            folders = name.split("/")
            above = ("/".join(folders[:i]) for i in range(1, len(folders) + header.isdir()))
            self._folders.update(targets.intersection(above))
            if header.isdir():
                continue
            if hash(name) in repeated:
                self._last[name] = header.offset
            if _has_data(header) and name in targets:
                self._places[name] = header.offset_data, header.size

    def members(self, passed: PassedOver) -> Iterator[_Member]:
        """The files in the archive's order, links with the place of their data."""
        for header in _headers(self._file):
            if header.isdir():
                continue
            name = _name_of(header)
            if _hidden(name):
                passed.add(HIDDEN)
            elif self._last.get(name, header.offset) != header.offset:
                passed.add(REPLACED)
            elif header.issym() or header.islnk():
                end = self._end(name)
                if isinstance(end, str):
                    passed.add(end)
                else:
                    yield _Member(name, end)
            elif _has_data(header):
                yield _Member(name, (header.offset_data, header.size))
            else:
                passed.add(OTHER)

    def _end(self, name: str) -> Place | str:
        """The place of the data that a link leads to, or why the link is passed over."""
        hard = self._links[name].hard
        for _ in range(MAX_LINKS):
            target = self._links[name].target
            listed = target in self._places or (target in self._links and self._links[target].hard)
            if not hard and listed and has_suffix(target) and not _hidden(target):
                return LINKED_IMAGES
            if target in self._places:
                return self._places[target]
            if target not in self._links:
                if target in self._folders:
                    return ARCHIVED_FOLDERS
                return OUTSIDE if target.startswith(("/", "..")) else DANGLING
            name = target
        return DANGLING


def _headers(file: str, passed: PassedOver | None = None) -> Iterator[tarfile.TarInfo]:
    """The headers of all members. Raises ValueError where the file is damaged or cut short."""
    size = os.path.getsize(file)
    try:
        with tarfile.open(file, "r:") as tar:
            while (header := tar.next()) is not None:
                # tarfile keeps a list of all members it has read; clear it to bound memory.
                tar.members.clear()  # type: ignore[attr-defined]
                if _has_data(header) and header.offset_data + header.size > size:
                    raise tarfile.ReadError(f"it is cut short in the data of {header.name}")
                yield header
            end = tar.offset
        block = _read(file, (end, tarfile.BLOCKSIZE))
        if any(block):
            cut = len(block) < tarfile.BLOCKSIZE
            what = "cut short in a header" if cut else "damaged in a header"
            raise tarfile.ReadError(f"it is {what}, at byte {end:,}")
    except (tarfile.TarError, OSError, ValueError) as error:
        raise ValueError(f"{file} is not a complete tar file: {error}") from error
    if len(block) < tarfile.BLOCKSIZE and passed is not None:
        passed.note(ENDLESS)


def _has_data(header: tarfile.TarInfo) -> bool:
    return header.isreg() and not header.issparse()


def _name_of(header: tarfile.TarInfo) -> str:
    return "/".join(part for part in header.name.split("/") if part not in ("", "."))


def _link_of(header: tarfile.TarInfo, name: str) -> _Link:
    hard = header.islnk()
    base = "" if hard else posixpath.dirname(name)
    return _Link(posixpath.normpath(posixpath.join(base, header.linkname)), hard)


def _hidden(name: str) -> bool:
    return any(map(is_hidden, name.split("/")))


def _repeated(hashes: array[int]) -> set[int]:
    """The numbers that are in the array more than once."""
    ordered = np.sort(np.frombuffer(hashes, np.int64))
    return set(ordered[1:][ordered[1:] == ordered[:-1]].tolist())


def _samples(members: Iterator[_Member]) -> Iterator[list[_Member]]:
    """WebDataset samples: consecutive files with the same path up to the first dot of the name."""
    sample: list[_Member] = []
    for member in members:
        if sample and _sample_key(member.name) != _sample_key(sample[0].name):
            yield sample
            sample = []
        sample.append(member)
    if sample:
        yield sample


def _sample_key(name: str) -> str:
    folder, base = posixpath.split(name)
    return posixpath.join(folder, base.partition(".")[0])


def _is_label(member: _Member) -> bool:
    extension = posixpath.basename(member.name).partition(".")[2].lower()
    return extension == LABEL_EXTENSION and member.place[1] <= MAX_LABEL_BYTES


def _read(file: str, place: Place) -> bytes:
    with open(file, "rb") as opened:
        opened.seek(place[0])
        return opened.read(place[1])
