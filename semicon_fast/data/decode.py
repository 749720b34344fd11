"""Image files to RGB tensors; broken files become one kind of error with a path and a cause."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import IO, NamedTuple

import numpy as np
import torch
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError
from torch import Tensor

# Pillow's own warning level: a quarter of a gigabyte once decoded to RGB.
MAX_PIXELS = 89_478_485
# What `decode_bytes` takes from strangers. Pillow knows more, some of which start other programs.
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF")
# A JPEG's scans each run over the whole image, at a few bytes a scan; cameras write up to a dozen.
MAX_SCANS = 100


class BrokenFile(NamedTuple):
    """A file that does not decode, and why, in a few words."""

    path: str
    cause: str


class BrokenImageError(ValueError):
    """One or more image files do not decode; `broken` lists them all."""

    def __init__(self, message: str, broken: tuple[BrokenFile, ...] = ()) -> None:
        super().__init__(message)
        self.broken = broken

    @classmethod
    def of(cls, broken: list[BrokenFile]) -> BrokenImageError:
        """The error that names every file of the list."""
        named = "; ".join(f"{file.path} ({file.cause})" for file in broken)
        count = "1 image does" if len(broken) == 1 else f"{len(broken)} images do"
        return cls(f"{count} not decode: {named}", tuple(broken))


def decode(path: str | os.PathLike[str]) -> Tensor:
    """The image file as uint8 (3, H, W) RGB, upright by its EXIF orientation.

    Grey, palette and CMYK images are converted; an alpha channel is dropped, as the released
    code's `convert("RGB")` does; 16-bit grey keeps its upper byte. Unreadable EXIF data is
    ignored (eight VegFru files have it). Raises BrokenImageError with the path and the cause.
    """
    try:
        return _decoded(path, None, MAX_PIXELS)
    except MemoryError:
        raise
    except Exception as error:  # decoders answer damaged bytes with a dozen kinds of exception
        cause = _cause(error, MAX_PIXELS, _is_empty(path))
        raise BrokenImageError.of([BrokenFile(os.fspath(path), cause)]) from error


def decode_bytes(data: bytes, *, max_pixels: int = MAX_PIXELS) -> Tensor:
    """The content of an image file from anyone, as `decode` gives it: uint8 (3, H, W) RGB.

    Of several frames or pages the first. Width and height are read from the header before a pixel
    is decoded. Raises BrokenImageError with path "" and the cause for anything but `FORMATS`, for
    more than `max_pixels`, and for a JPEG of more than `MAX_SCANS` scans.
    """
    with _broken_bytes(data, max_pixels):
        return _decoded(io.BytesIO(data), FORMATS, max_pixels)


def thumbnail(data: bytes, side: int, *, max_pixels: int = MAX_PIXELS) -> bytes:
    """The image as a JPEG no wider and no higher than `side`, with nothing of its metadata.

    Raises as `decode_bytes`.
    """
    with _broken_bytes(data, max_pixels):
        with _opened(io.BytesIO(data), FORMATS, max_pixels) as image:
            image.draft("RGB", (side, side))
            small = _to_rgb(_upright(image))
        small.thumbnail((side, side))
        small.info.clear()
        written = io.BytesIO()
        small.save(written, "JPEG", quality=85)
        return written.getvalue()


class Readable:
    """The images that decode, one at a time. Once all are taken, `kept` has their positions among
    `images`, and `broken` names the others and their causes."""

    def __init__(self, images: Iterable[Callable[[], Tensor]]) -> None:
        self._images = images
        self.kept: list[int] = []
        self.broken: list[str] = []

    def __iter__(self) -> Iterator[Tensor]:
        for position, image in enumerate(self._images):
            try:
                pixels = image()
            except BrokenImageError as error:
                self.broken += [f"{file.path} ({file.cause})" for file in error.broken]
                continue
            self.kept.append(position)
            yield pixels


@contextmanager
def _broken_bytes(data: bytes, max_pixels: int) -> Iterator[None]:
    """What a decoder raises as BrokenImageError."""
    try:
        yield
    except Exception as error:
        cause = _cause(error, max_pixels, not data)
        broken = (BrokenFile("", cause),)
        raise BrokenImageError(f"the image does not decode: {cause}", broken) from error


def _decoded(
    source: str | os.PathLike[str] | IO[bytes], formats: tuple[str, ...] | None, max_pixels: int
) -> Tensor:
    with _opened(source, formats, max_pixels) as image:
        pixels = np.array(_to_rgb(_upright(image)))
    # Channels stay together, as decoders write them and resizing reads them: torch's copy to planes
    # takes as long as decoding a JPEG.
    return torch.from_numpy(pixels).permute(2, 0, 1)


@contextmanager
def _opened(
    source: str | os.PathLike[str] | IO[bytes], formats: tuple[str, ...] | None, max_pixels: int
) -> Iterator[Image.Image]:
    """The image with its header read and found to be within bounds, its pixels not yet decoded."""
    with Image.open(source, formats=formats) as image:
        if image.width * image.height > max_pixels:
            raise Image.DecompressionBombError
        if isinstance(source, io.BytesIO) and image.format in ("JPEG", "MPO"):
            # Within a scan a byte 0xFF is followed by 0 or by a restart marker.
            scans = source.getvalue().count(b"\xff\xda")
            if scans > MAX_SCANS:
                raise ValueError(f"it has {scans} scans, more than {MAX_SCANS}")
        yield image


def _upright(image: Image.Image) -> Image.Image:
    """Turned by the EXIF orientation where that can be read."""
    image.load()
    try:
        turned = image.getexif().get(ExifTags.Base.Orientation, 1) != 1
        return ImageOps.exif_transpose(image) if turned else image
    except Exception:  # damaged EXIF blocks raise anything from SyntaxError to struct.error
        return image


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):
        # convert("RGB") would clip 16-bit values at 255 instead of scaling them
        return Image.fromarray((np.array(image).clip(0, 65535) >> 8).astype(np.uint8)).convert(
            "RGB"
        )
    if image.mode == "F":
        raise ValueError("floating-point pixels have no fixed range to scale to 8 bits")
    if image.mode == "P" and "transparency" in image.info:
        image = image.convert("RGBA")
    return image if image.mode == "RGB" else image.convert("RGB")


def _is_empty(path: str | os.PathLike[str]) -> bool:
    try:
        return os.path.getsize(path) == 0
    except OSError:
        return False


def _cause(error: Exception, max_pixels: int, empty: bool) -> str:
    if isinstance(error, FileNotFoundError):
        return "there is no such file"
    if isinstance(error, Image.DecompressionBombError | Image.DecompressionBombWarning):
        return f"it has more than {max_pixels} pixels"
    if empty:
        return "the file is empty"
    if isinstance(error, UnidentifiedImageError):
        return "the file is not an image of a known format"
    return str(error) or type(error).__name__
