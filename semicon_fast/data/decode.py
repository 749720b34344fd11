"""Image files to RGB tensors; broken files become one kind of error with a path and a cause."""

from __future__ import annotations

import os
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

# Pillow's own warning level: a quarter of a gigabyte once decoded to RGB.
MAX_PIXELS = 89_478_485


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
        with Image.open(path) as image:
            if image.width * image.height > MAX_PIXELS:
                raise Image.DecompressionBombError
            pixels = np.array(_to_rgb(_upright(image)))
    except MemoryError:
        raise
    except Exception as error:  # decoders answer damaged bytes with a dozen kinds of exception
        raise BrokenImageError.of([BrokenFile(os.fspath(path), _cause(path, error))]) from error
    return torch.from_numpy(pixels).permute(2, 0, 1).contiguous()


def _upright(image: Image.Image) -> Image.Image:
    """Turned by the EXIF orientation where that can be read."""
    image.load()
    try:
        return ImageOps.exif_transpose(image)
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
    return image.convert("RGB")


def _cause(path: str | os.PathLike[str], error: Exception) -> str:
    if isinstance(error, FileNotFoundError):
        return "there is no such file"
    if isinstance(error, Image.DecompressionBombError | Image.DecompressionBombWarning):
        return f"it has more than {MAX_PIXELS} pixels"
    try:
        if os.path.getsize(path) == 0:
            return "the file is empty"
    except OSError:
        return str(error)
    if isinstance(error, UnidentifiedImageError):
        return "the file is not an image of a known format"
    return str(error) or type(error).__name__
