"""The gallery's image files by number. Nothing in a request is ever used as a path."""

import os
import stat
import zlib
from pathlib import Path

from torch import Tensor

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
    folder and must stay inside it.
    """

    def __init__(self, gallery: Gallery, folder: str | os.PathLike[str]) -> None:
        self._gallery, self._folder = gallery, Path(folder).resolve()

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
        _check_file(about, number)
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
        listed = Path(self._gallery.images[number])
        path = listed if listed.is_absolute() else self._folder / listed
        real = Path(os.path.realpath(path))
        inside = real == path if listed.is_absolute() else real.is_relative_to(self._folder)
        if not inside:
            raise MissingImageError(_moved_message(number))
        return real

    def _read(self, number: int) -> bytes:
        # O_NONBLOCK: opening a named pipe would block the thread for ever. O_NOFOLLOW: a symbolic
        # link could have replaced the file since `_path` resolved it.
        flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOFOLLOW", 0)
        try:
            with open(
                os.open(self._path(number), flags | getattr(os, "O_BINARY", 0)), "rb"
            ) as file:
                _check_file(os.fstat(file.fileno()), number)
                return file.read(MAX_BYTES)
        except (OSError, ValueError) as error:
            raise MissingImageError(_moved_message(number)) from error


def _check_file(about: os.stat_result, number: int) -> None:
    if not stat.S_ISREG(about.st_mode) or about.st_size > MAX_BYTES:
        raise MissingImageError(f"image {number} is not a regular file or is too large")


def _moved_message(number: int) -> str:
    return (
        f"image {number} is not a file at the path where it was encoded; images in tar and Parquet "
        "files are not shown"
    )
