"""The gallery's images by their number. No name from outside ever becomes a path."""

import os
import stat
import zlib
from pathlib import Path

from torch import Tensor

from ..data.decode import BrokenImageError, decode_bytes, thumbnail
from ..search.gallery import Gallery

# Of one file of the gallery, which `encode` has read before.
MAX_BYTES = 256 * 2**20


class MissingImageError(Exception):
    """A gallery's image cannot be shown; the message names its number and no path."""


class Pictures:
    """Reads the files that a gallery lists, and no others.

    `encode` writes absolute paths without links: what leads elsewhere today, because a link took
    its place, is not followed. Relative names count from the gallery's folder and stay inside.
    """

    def __init__(self, gallery: Gallery, folder: str | os.PathLike[str]) -> None:
        self._gallery, self._folder = gallery, Path(folder).resolve()

    def name(self, number: int) -> str:
        """The file's name without its folders."""
        return self._gallery.images[number].replace("\\", "/").rsplit("/", 1)[-1]

    def version(self, number: int, side: int) -> str:
        """Changes when the file or `side` does. Raises MissingImageError."""
        try:
            about = self._path(number).stat()
        except (OSError, ValueError) as error:
            raise MissingImageError(_moved(number)) from error
        _check_file(about, number)
        key = f"{self._gallery.images[number]} {about.st_mtime_ns} {about.st_size} {side}"
        return f"{zlib.crc32(key.encode()):08x}"

    def small(self, number: int, side: int) -> bytes:
        """A JPEG no wider and no higher than `side`. Raises MissingImageError."""
        data = self._read(number)
        try:
            return thumbnail(data, side)
        except BrokenImageError as error:
            raise MissingImageError(f"image {number} does not decode") from error

    def pixels(self, number: int) -> Tensor:
        """uint8 (3, H, W). Raises MissingImageError."""
        try:
            return decode_bytes(self._read(number))
        except BrokenImageError as error:
            raise MissingImageError(f"image {number} does not decode") from error

    def _path(self, number: int) -> Path:
        listed = Path(self._gallery.images[number])
        path = listed if listed.is_absolute() else self._folder / listed
        real = Path(os.path.realpath(path))
        inside = real == path if listed.is_absolute() else real.is_relative_to(self._folder)
        if not inside:
            raise MissingImageError(_moved(number))
        return real

    def _read(self, number: int) -> bytes:
        # A pipe would keep a thread for ever, a link could have come since.
        flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOFOLLOW", 0)
        try:
            with open(
                os.open(self._path(number), flags | getattr(os, "O_BINARY", 0)), "rb"
            ) as file:
                _check_file(os.fstat(file.fileno()), number)
                return file.read(MAX_BYTES)
        except (OSError, ValueError) as error:
            raise MissingImageError(_moved(number)) from error


def _check_file(about: os.stat_result, number: int) -> None:
    if not stat.S_ISREG(about.st_mode) or about.st_size > MAX_BYTES:
        raise MissingImageError(f"image {number} is no file that can be shown")


def _moved(number: int) -> str:
    return f"image {number} is not where it was when it was encoded"
