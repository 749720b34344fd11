"""The range of an image's samples where that is not 0 to 255, as the file declares it.

A sample v of the range low..high becomes floor(256 (v - low) / (high - low + 1)), which for 12 and
16 bits is the upper 8 of them. What declares the range:

- TIFF: BitsPerSample, and MaxSampleValue or SMaxSampleValue if they say less, as for 12 bits kept
  in 16. Signed samples and those of 32 bits need these tags, for no picture fills their range.
- PNG and JPEG 2000: 16 bits. PGM: Pillow has scaled its samples from 0..maxval to 16 bits.

Nothing is guessed from the pixels, so that all images of a set are scaled alike. But 16-bit samples
without a declared range that all lie below 4096 are refused: they are nearly always of 12 bits or
fewer, and would give black images.
"""

from typing import Any, NamedTuple

import numpy as np
from PIL import Image

_BITS, _INTERPRETATION, _FORMAT = 258, 262, 339
_LEAST, _MOST, _SIGNED_LEAST, _SIGNED_MOST = 280, 281, 340, 341
_SIGNED = 2
_WHITE_IS_ZERO = 0
# Formats whose samples Pillow gives in the range of 16 bits.
_SIXTEEN_BITS = ("PNG", "PPM", "JPEG2000")
_TWELVE_BITS = 1 << 12


class SampleRange(NamedTuple):
    """Integer samples from `low` to `high`, of dtype `kind` in the file.

    inverted: whether `low` is white. declared: whether the file says that samples fill the range.
    """

    low: int
    high: int
    kind: np.dtype[Any]
    inverted: bool = False
    declared: bool = True

    def scaled(self, samples: "np.ndarray[Any, Any]") -> "np.ndarray[Any, Any]":
        """Samples as Pillow gives them, integers (H, W), scaled to uint8 (H, W).

        Raises ValueError for 16-bit samples that seem to be of fewer bits.
        """
        if self.kind.itemsize == samples.dtype.itemsize and samples.dtype.isnative:
            samples = samples.view(self.kind)
        if not self.declared and 0 < samples.max(initial=0) < _TWELVE_BITS:
            raise ValueError(
                f"its samples of 16 bits are at most {samples.max()}, as if they were of 12 bits "
                "or fewer, and the image would be black; scale them to 0 to 65535, or declare "
                "their largest value in a TIFF file's tag MaxSampleValue"
            )
        narrow = self.low == 0 and self.high < 1 << 16
        values = samples.clip(self.low, self.high).astype(np.uint32 if narrow else np.int64)
        grey = ((values - self.low) * 256 // (self.high - self.low + 1)).astype(np.uint8)
        return ~grey if self.inverted else grey


def sample_range(image: Image.Image) -> SampleRange | None:
    """The range of the samples of an opened image, None for 8-bit images, which are taken as is.

    Raises ValueError for samples whose range is not known: floating-point ones, and integers of 32
    bits or with a sign whose range the file does not declare.
    """
    if image.mode == "F":
        raise ValueError("floating-point pixels have no fixed range to scale to 8 bits")
    if image.format == "TIFF":
        return _of_tiff(image)
    if image.mode.startswith("I;16") or (image.mode == "I" and image.format in _SIXTEEN_BITS):
        # Only PPM's header has a largest value, to which Pillow has scaled.
        return SampleRange(0, 65535, np.dtype(np.uint16), declared=image.format == "PPM")
    if image.mode == "I":
        raise ValueError(f"{image.format} pixels of 32 bits have no known range to scale to 8 bits")
    return None


def _of_tiff(image: Image.Image) -> SampleRange | None:
    tags: Any = image.tag_v2  # type: ignore[attr-defined]

    def of(tag: int) -> int | None:
        value = tags.get(tag)
        largest = max(value) if isinstance(value, tuple) else value
        return None if largest is None else int(largest)

    bits = of(_BITS) or 1
    signed = of(_FORMAT) == _SIGNED
    most = of(_SIGNED_MOST) if tags.get(_SIGNED_MOST) is not None else of(_MOST)
    least = of(_SIGNED_LEAST) if tags.get(_SIGNED_LEAST) is not None else of(_LEAST)
    if bits <= 8 and not signed:
        return None
    kind = np.dtype(f"{'i' if signed else 'u'}{-(-bits // 8)}")
    low, high = int(np.iinfo(kind).min), (1 << (bits - signed)) - 1
    if signed and (least is None or most is None):
        raise ValueError(
            f"signed samples of {bits} bits can be scaled to 8 bits only if the file declares "
            "their range (tags SMinSampleValue and SMaxSampleValue)"
        )
    if bits > 16 and most is None:
        raise ValueError(
            f"samples of {bits} bits can be scaled to 8 bits only if the file declares their range "
            "(tag MaxSampleValue or SMaxSampleValue)"
        )
    if signed and least is not None:
        low = max(low, least)
    if most is not None and low < most < high:
        high = most
    if len(image.getbands()) > 1:
        if high < (1 << bits) - 1:
            raise ValueError(
                f"its colours have {bits} bits, of which they use 0 to {high}; only colours that "
                f"use all {bits} bits can be read"
            )
        return None
    inverted = of(_INTERPRETATION) == _WHITE_IS_ZERO
    return SampleRange(low, high, kind, inverted, most is not None or bits != 16)
