"""The gallery's image files by number. Nothing in a request is ever used as a path."""

import os
import stat
import threading
import zlib
from pathlib import Path

from torch import Tensor

from ..data.catalog import Entry, archive_of, list_images
from ..data.decode import LISTED_FORMATS, BrokenImageError, decode_bytes, thumbnail
from ..search.gallery import Gallery

# Largest image file of a gallery that is read.
MAX_BYTES = 256 * 2**20


class MissingImageError(Exception):
    """A gallery image cannot be read; the message gives its number but no path."""


class Pictures:
    """Reads the image files that a gallery lists, and no others.

    `encode` writes absolute paths with symbolic links resolved, so a listed path that contains a
    link now was changed since and is not followed. Relative paths are taken from the gallery's
    folder and must stay inside it. Of a tar or Parquet file the places of its images are kept from
    their first use on.
    """

    def __init__(self, gallery: Gallery, folder: str | os.PathLike[str]) -> None:
        self._gallery, self._folder = gallery, Path(folder).resolve()
        self._archives: dict[str, tuple[os.stat_result, dict[str, Entry]]] = {}
        self._lock = threading.Lock()

    def name(self, number: int) -> str:
        """The file's base name."""
        image = self._gallery.images[number]
        # A gallery of Windows separates by backslashes, which are part of a name elsewhere.
        return image.rpartition("/" if "/" in image else "\\")[2]

    def version(self, number: int, side: int) -> str:
        """A hash of the file's path, time and size and of `side`, for use as an ETag.

        Raises MissingImageError.
        """
        try:
            about = self._path(number).stat()
        except (OSError, ValueError) as error:
            raise MissingImageError(_moved_message(number)) from error
        _check_file(about, number, None if self._archive(number) else MAX_BYTES)
        key = f"{self._gallery.images[number]} {about.st_mtime_ns} {about.st_size} {side}"
        return f"{zlib.crc32(key.encode('utf-8', 'surrogateescape')):08x}"

    def small(self, number: int, side: int) -> bytes:
        """A JPEG thumbnail of at most side x side pixels. Raises MissingImageError."""
        data = self._read(number)
        try:
            return thumbnail(data, side, formats=LISTED_FORMATS)
        except BrokenImageError as error:
            raise MissingImageError(f"image {number} cannot be decoded") from error

    def pixels(self, number: int) -> Tensor:
        """The decoded image, uint8 (3, H, W). Raises MissingImageError."""
        try:
            return decode_bytes(self._read(number), formats=LISTED_FORMATS)
        except BrokenImageError as error:
            raise MissingImageError(f"image {number} cannot be decoded") from error

    def _path(self, number: int) -> Path:
        """The image's file, or the archive that holds it. Raises MissingImageError."""
        listed = Path(self._archive(number) or self._gallery.images[number])
        path = listed if listed.is_absolute() else self._folder / listed
        real = Path(os.path.realpath(path))
        inside = real == path if listed.is_absolute() else real.is_relative_to(self._folder)
        if not inside:
            raise MissingImageError(_moved_message(number))
        return real

    def _archive(self, number: int) -> str | None:
        name = self._gallery.images[number]
        return archive_of(name) if os.path.isabs(name) else None

    def _read(self, number: int) -> bytes:
        if self._archive(number) is None:
            return self._read_file(number)
        try:
            entries = self._entries(os.fspath(self._path(number)))
            found = entries[self._gallery.images[number]]
            if found.size is not None and found.size > MAX_BYTES:
                raise MissingImageError(f"image {number} is too large")
            return found.content()
        except (KeyError, OSError, ValueError) as error:
            raise MissingImageError(_moved_message(number)) from error

    def _entries(self, archive: str) -> dict[str, Entry]:
        """The images of an archive by name, listed again if the archive has changed."""
        with self._lock:
            about = os.stat(archive)
            known = self._archives.get(archive)
            if known is None or _changed(about, known[0]):
                known = about, {entry.name: entry for entry in list_images([archive])}
                self._archives[archive] = known
            return known[1]

    def _read_file(self, number: int) -> bytes:
        # O_NONBLOCK: opening a named pipe would block the thread for ever. O_NOFOLLOW: a symbolic
        # link could have replaced the file since `_path` resolved it.
        flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOFOLLOW", 0)
        try:
            with open(
                os.open(self._path(number), flags | getattr(os, "O_BINARY", 0)), "rb"
            ) as file:
                _check_file(os.fstat(file.fileno()), number, MAX_BYTES)
                return file.read(MAX_BYTES)
        except (OSError, ValueError) as error:
            raise MissingImageError(_moved_message(number)) from error


def _changed(about: os.stat_result, before: os.stat_result) -> bool:
    return (about.st_mtime_ns, about.st_size) != (before.st_mtime_ns, before.st_size)


def _check_file(about: os.stat_result, number: int, most: int | None) -> None:
    if not stat.S_ISREG(about.st_mode) or (most is not None and about.st_size > most):
        raise MissingImageError(f"image {number} is not a regular file or is too large")


def _moved_message(number: int) -> str:
    return f"image {number} is no longer at the path where it was encoded"
