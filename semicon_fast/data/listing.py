"""What an image is, what its label is, and what links, hidden files and nested folders mean.

The one answer for every reader of folders, lists and archives. Imports neither NumPy nor torch.

- An image is a regular file with a suffix of `naming.FORMATS`, or a link with such a suffix to a
  regular file.
- Hidden files and folders, `naming.is_hidden`, are passed over.
- A link to a folder is followed unless its place is read anyway, or holds the link or the root; a
  link to an image is passed over if the image is listed at its own place. Real folders come first.
- The label is the first folder below the given root, as `naming` says it.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from .naming import FORMATS, SHARD_SUFFIXES, SPLIT_FOLDERS, has_suffix, is_hidden, label_below
from .passed_over import (
    BESIDE,
    DANGLING,
    EMPTY,
    HIDDEN,
    LINKED_FOLDERS,
    LINKED_IMAGES,
    LOOPS,
    LOOSE,
    OTHER,
    SHARDS,
    PassedOver,
    passed_over_in_words,
)


class Found(NamedTuple):
    """A listed image.

    path: below the root, with "/" between folders. label: see the module. loose: whether it lies in
    no class folder, so that the label is the name of the folder that holds it. file: the file's
    absolute path without links.
    """

    path: str
    label: str
    loose: bool
    file: str


def has_split(root: str | os.PathLike[str]) -> bool:
    """Whether the folder is split: it has a folder train/ with folders in it.

    A folder train/ that holds images itself is a class.
    """
    try:
        with os.scandir(os.path.join(root, "train")) as found:
            return any(not is_hidden(entry.name) and entry.is_dir() for entry in found)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except PermissionError:
        raise _unreadable(os.path.join(root, "train")) from None


def images(
    root: str | os.PathLike[str],
    passed: PassedOver | None = None,
    *,
    parts: Sequence[str] = (),
) -> Iterator[Found]:
    """The images below a folder, as a stream: sorted by path, those of followed links last.

    In memory are the names in the folders on the current path, one entry a class, one a link.

    Args:
        root: the folder.
        passed: counts what is passed over, complete after the last image.
        parts: read only these folders of the root, in this order.

    Raises:
        ValueError: a folder cannot be read.
    """
    passed = PassedOver() if passed is None else passed
    split, name = bool(parts) or has_split(root), folder_name(root)
    walk, classes = _Walk(os.fspath(root), FORMATS, passed), set[str]()
    for path, file in walk.files(parts):
        folders = path.split("/")[:-1]
        label, depth = label_below(folders, name, split)
        if depth >= 0:
            classes.add("/".join(folders[: depth + 1]))
        yield Found(path, label, depth < 0, file)
    splits = SPLIT_FOLDERS if split else ()
    known = classes.union(splits)
    for part in parts or ("", *splits):
        passed.add(EMPTY, sum(folder not in known for folder in walk.folders(part)))


def shards(folder: str | os.PathLike[str], passed: PassedOver | None = None) -> list[str]:
    """The tar and Parquet files below a folder, listed as `images` are; absolute paths."""
    passed = PassedOver() if passed is None else passed
    return [file for _, file in _Walk(os.fspath(folder), SHARD_SUFFIXES, passed).files()]


def given(
    paths: Iterable[str | os.PathLike[str]], passed: PassedOver | None = None
) -> Iterator[Found]:
    """The files among `paths`, whatever their names, and the images below the folders among them.

    `path` of each begins with the path that was given. Raises ValueError for a path that does not
    exist, and for a folder without images.
    """
    passed = PassedOver() if passed is None else passed
    for path in paths:
        if not os.path.isdir(path):
            yield single(path)
            continue
        empty = True
        for found in images(path, passed):
            empty = False
            yield found._replace(path=os.path.join(path, found.path))
        if empty:
            raise no_image(path, passed)


def single(path: str | os.PathLike[str]) -> Found:
    """A file that was named itself. Raises ValueError if it does not exist."""
    if not os.path.isfile(path):
        raise ValueError(f"{os.fspath(path)} does not exist")
    label = folder_name(os.path.dirname(os.path.abspath(path)))
    return Found(os.fspath(path), label, True, os.path.realpath(path))


def no_image(
    path: str | os.PathLike[str], passed: PassedOver, suffixes: Iterable[str] = FORMATS
) -> ValueError:
    """The error for a folder or archive in which no image is."""
    about = f"looked for {', '.join(sorted(suffixes))}"
    if said := passed_over_in_words(passed.counts):
        about += f"; {said}"
    return ValueError(f"no image below {os.fspath(path)} ({about})")


def folder_name(path: str | os.PathLike[str]) -> str:
    """Name of the folder at this path, which may be "." or end with a slash."""
    return os.path.basename(os.path.abspath(path))


_FOLDER, _FILE, _LINK, _NEITHER = range(4)


class _Walk:
    """Reads a folder and what its links lead to, each place once."""

    def __init__(self, root: str, suffixes: Iterable[str], passed: PassedOver) -> None:
        self._root, self._suffixes, self._passed = os.path.realpath(root), tuple(suffixes), passed
        # Folders, without links in their paths, below which all that is not hidden is read.
        self._bases: set[str] = set()
        # Files outside these that links led to, and (path below the root, folder that holds it,
        # folder that it leads to) of links to folders that are not read yet.
        self._linked: set[str] = set()
        self._links: list[tuple[str, str, str]] = []

    def files(self, parts: Sequence[str] = ()) -> Iterator[tuple[str, str]]:
        """(path below the root, absolute path without links) of each file with a suffix."""
        if parts:
            self._count_beside(parts)
        starts = []
        for part in parts or ("",):
            real = os.path.realpath(os.path.join(self._root, part))
            if self._is_read(real):
                self._passed.add(LINKED_FOLDERS)
            else:
                self._bases.add(real)
                starts.append((real, f"{part}/" if part else ""))
        for real, shown in starts:
            yield from self._below(real, shown)
        while self._links:
            links, self._links = sorted(self._links), []
            for shown, holder, target in links:
                if _is_above(target, holder) or _is_above(target, self._root):
                    self._passed.add(LOOPS)
                elif self._is_read(target):
                    self._passed.add(LINKED_FOLDERS)
                else:
                    self._bases.add(target)
                    yield from self._below(target, f"{shown}/")

    def folders(self, part: str) -> Iterator[str]:
        """Paths below the root of the real folders directly in a folder of the root."""
        place = os.path.join(self._root, part)
        if os.path.isdir(place):
            for name, kind in _children(place, PassedOver()):
                if kind == _FOLDER:
                    yield f"{part}/{name}" if part else name

    def _below(self, folder: str, shown: str) -> Iterator[tuple[str, str]]:
        """What `files` gives of one folder. shown: its path below the root, ending with "/"."""
        stack = [(folder, shown, iter(_children(folder, self._passed)))]
        while stack:
            folder, shown, children = stack[-1]
            for name, kind in children:
                place = os.path.join(folder, name)
                if kind == _FOLDER:
                    if place in self._bases:
                        self._passed.add(LINKED_FOLDERS)
                        continue
                    inside = iter(_children(place, self._passed))
                    stack.append((place, f"{shown}{name}/", inside))
                    break
                file = self._file(place, kind, f"{shown}{name}")
                if file is not None:
                    yield f"{shown}{name}", file
            else:
                stack.pop()

    def _file(self, place: str, kind: int, shown: str) -> str | None:
        """The absolute path without links of a child that is listed; None for any other, which is
        counted or, if it is a link to a folder, kept for later."""
        if kind == _LINK:
            target = os.path.realpath(place)
            kind = _kind_of_target(place)
            if kind == _LINK:
                self._passed.add(DANGLING)
                return None
            if kind == _FOLDER:
                self._links.append((shown, os.path.dirname(place), target))
                return None
            if kind == _FILE and has_suffix(place, self._suffixes):
                if not (has_suffix(target, self._suffixes) and self._is_read(target)):
                    self._linked.add(target)
                    return target
                self._passed.add(LINKED_IMAGES)
                return None
        elif kind == _FILE and has_suffix(place, self._suffixes):
            if place not in self._linked:
                return place
            self._passed.add(LINKED_IMAGES)
            return None
        is_shard = kind == _FILE and has_suffix(place, SHARD_SUFFIXES)
        self._passed.add(SHARDS if is_shard else OTHER)
        return None

    def _is_read(self, place: str) -> bool:
        """Whether this place lies in a folder that is read, without hidden folders between."""
        while place not in self._bases:
            place, name = os.path.split(place)
            if not name or is_hidden(name):
                return False
        return True

    def _count_beside(self, parts: Sequence[str]) -> None:
        """Count what lies in the root beside the parts that are read."""
        for name, kind in _children(self._root, self._passed):
            if kind == _FOLDER and name not in parts:
                self._passed.add(BESIDE)
            elif kind == _FILE:
                self._passed.add(LOOSE if has_suffix(name, self._suffixes) else OTHER)
            elif kind == _LINK and name not in parts:
                at_end = _kind_of_target(os.path.join(self._root, name))
                self._passed.add({_FOLDER: BESIDE, _LINK: DANGLING}.get(at_end, OTHER))


def _children(folder: str, passed: PassedOver) -> list[tuple[str, int]]:
    """(name, kind) of what is in a folder and not hidden, sorted."""
    try:
        with os.scandir(folder) as found:
            children = [(entry.name, _kind_of(entry)) for entry in found]
    except PermissionError:
        raise _unreadable(folder) from None
    seen = sorted(child for child in children if not is_hidden(child[0]))
    passed.add(HIDDEN, len(children) - len(seen))
    return seen


def _kind_of(entry: os.DirEntry[str]) -> int:
    if entry.is_symlink():
        return _LINK
    if entry.is_dir(follow_symlinks=False):
        return _FOLDER
    return _FILE if entry.is_file(follow_symlinks=False) else _NEITHER


def _kind_of_target(link: str) -> int:
    """What a link leads to; `_LINK` if it leads nowhere or in a circle."""
    try:
        mode = os.stat(link).st_mode
    except PermissionError:
        raise _unreadable(link) from None
    except OSError:
        return _LINK
    return _FOLDER if stat.S_ISDIR(mode) else _FILE if stat.S_ISREG(mode) else _NEITHER


def _is_above(folder: str, other: str) -> bool:
    return other == folder or other.startswith(folder.rstrip(os.sep) + os.sep)


def _unreadable(place: str) -> ValueError:
    return ValueError(f"{place} cannot be read: permission denied")
