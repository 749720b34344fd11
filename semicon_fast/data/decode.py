"""Decodes image files to RGB tensors; all failures become BrokenImageError with path and cause."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import IO, NamedTuple

import numpy as np
import torch
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from . import naming
from .bit_depth import sample_range

# Largest image that is decoded; Pillow's own warning level, about 256 MiB of RGB pixels.
MAX_PIXELS = 89_478_485
# Formats of listed images, accepted in archives and galleries. Some other formats of Pillow start
# external programs.
LISTED_FORMATS = tuple(dict.fromkeys(naming.FORMATS.values()))
# Those that `decode_bytes` accepts from anyone. PPM as text is slow to read, bytes of any kind may
# pass for TGA, and JPEG 2000 can need much memory for few bytes.
FORMATS = tuple(name for name in LISTED_FORMATS if name not in ("PPM", "TGA", "JPEG2000"))
# Most scans of a progressive JPEG. A scan of a few bytes costs a pass over the whole image, which
# untrusted files can exploit; cameras write up to a dozen.
MAX_SCANS = 100


class BrokenFile(NamedTuple):
    """A file that cannot be decoded, and a short description of the cause."""

    path: str
    cause: str


class BrokenImageError(ValueError):
    """One or more image files cannot be decoded; `broken` lists all of them."""

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
    """Decode an image file to uint8 (3, H, W) RGB, rotated by its EXIF orientation.

    Greyscale, palette and CMYK images are converted to RGB. An alpha channel is dropped, as by
    `convert("RGB")` in the released code. Samples of more than 8 bits are scaled from the range
    that the file declares, see `bit_depth`: 16-bit ones keep the upper byte. Unreadable EXIF data
    is ignored (eight files of VegFru have it).

    Raises:
        BrokenImageError: with the path and the cause.
    """
    try:
        return _decode(path, None, MAX_PIXELS)
    except MemoryError:
        raise
    except Exception as error:  # decoders raise many types of exception for damaged files
        cause = _cause(error, MAX_PIXELS, _is_empty(path))
        raise BrokenImageError.of([BrokenFile(os.fspath(path), cause)]) from error


def decode_bytes(
    data: bytes, *, max_pixels: int = MAX_PIXELS, formats: tuple[str, ...] = FORMATS
) -> Tensor:
    """Decode the bytes of an image file from an untrusted source to uint8 (3, H, W) RGB.

    Conversions are those of `decode`. Of several frames or pages the first is decoded. Width and
    height are checked in the header before any pixel is decoded.

    Raises:
        BrokenImageError: with path "" and the cause, for formats not in `formats`, more than
            `max_pixels` pixels, a JPEG with more than `MAX_SCANS` scans, or damaged data.
    """
    with _broken_bytes(data, max_pixels):
        return _decode(io.BytesIO(data), formats, max_pixels)


def thumbnail(
    data: bytes,
    side: int,
    *,
    max_pixels: int = MAX_PIXELS,
    formats: tuple[str, ...] = FORMATS,
) -> bytes:
    """A JPEG of at most side x side pixels without metadata, from the bytes of an image file.

    Raises BrokenImageError as `decode_bytes` does.
    """
    with _broken_bytes(data, max_pixels):
        with _open_checked(io.BytesIO(data), formats, max_pixels) as image:
            image.draft("RGB", (side, side))
            small = _rgb(image)
        small.thumbnail((side, side))
        small.info.clear()
        written = io.BytesIO()
        small.save(written, "JPEG", quality=85)
        return written.getvalue()


class Readable:
    """Iterates over the images that can be decoded, one at a time.

    Args:
        images: functions that decode one image each.

    Attributes:
        kept: positions in `images` of the decoded ones, complete after the iteration.
        broken: "path (cause)" of the others, complete after the iteration.
    """

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
    """Converts any exception of a decoder to BrokenImageError."""
    try:
        yield
    except Exception as error:
        cause = _cause(error, max_pixels, not data)
        broken = (BrokenFile("", cause),)
        raise BrokenImageError(f"the image cannot be decoded: {cause}", broken) from error


def _decode(
    source: str | os.PathLike[str] | IO[bytes], formats: tuple[str, ...] | None, max_pixels: int
) -> Tensor:
    with _open_checked(source, formats, max_pixels) as image:
        pixels = np.array(_rgb(image))
    # A channels-last view: decoders write and resizing reads interleaved channels, and copying to
    # planes takes as long as decoding a JPEG.
    return torch.from_numpy(pixels).permute(2, 0, 1)


@contextmanager
def _open_checked(
    source: str | os.PathLike[str] | IO[bytes], formats: tuple[str, ...] | None, max_pixels: int
) -> Iterator[Image.Image]:
    """The image with its header read and checked, its pixels not yet decoded."""
    with ExitStack() as opened:
        # Not by its name: Pillow maps such files into memory, and then mixes up the pixels of TIFFs
        # that are to be turned.
        if isinstance(source, (str, os.PathLike)):
            file: IO[bytes] = opened.enter_context(open(source, "rb"))
        else:
            file = source
        image = opened.enter_context(Image.open(file, formats=formats))
        if image.width * image.height > max_pixels:
            raise Image.DecompressionBombError
        if isinstance(source, io.BytesIO) and image.format in ("JPEG", "MPO"):
            # FF DA starts a scan; in a scan's data FF is followed by 00 or a restart marker.
            scans = source.getvalue().count(b"\xff\xda")
            if scans > MAX_SCANS:
                raise ValueError(f"it has {scans} scans, more than {MAX_SCANS}")
        yield image


def _upright(image: Image.Image) -> Image.Image:
    """The image rotated by its EXIF orientation, if that can be read."""
    image.load()
    try:
        turned = image.getexif().get(ExifTags.Base.Orientation, 1) != 1
        return ImageOps.exif_transpose(image) if turned else image
    except Exception:  # damaged EXIF blocks raise anything from SyntaxError to struct.error
        return image


def _rgb(image: Image.Image) -> Image.Image:
    """The image as 8-bit RGB, rotated by its EXIF orientation."""
    # Read here: the rotated copy has neither format nor tags.
    samples = sample_range(image)
    upright = _upright(image)
    if samples is not None:
        return Image.fromarray(samples.scaled(np.asarray(upright))).convert("RGB")
    if upright.mode == "P" and "transparency" in upright.info:
        upright = upright.convert("RGBA")
    return upright if upright.mode == "RGB" else upright.convert("RGB")


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
