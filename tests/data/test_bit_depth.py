"""Samples of other ranges than 0 to 255, in real files, are scaled as the file declares them."""

import io
import struct

import numpy as np
import pytest
import torch
from PIL import Image

from semicon_fast.data import BrokenImageError
from semicon_fast.data.decode import decode, decode_bytes, thumbnail

TWELVE = np.array([[0, 15, 16, 2048], [4080, 4095, 100, 1000]], np.uint16)
SIXTEEN = np.array([[0, 255, 256, 32768], [65279, 65280, 65535, 4095]], np.uint16)
ALL = 2**32 - 1
MOST, SIGNED_LEAST, SIGNED_MOST = 281, 340, 341


def signed_range(low, high):
    return {SIGNED_LEAST: low, SIGNED_MOST: high}


def tiff(samples, bits, *, order="<", kind=1, white_is_zero=False, tags=()):
    """An uncompressed grey TIFF of samples (H, W), packed to `bits` bits (12, or whole bytes)."""
    height, width = samples.shape
    if bits == 12:
        digits = [(int(v) >> (11 - i)) & 1 for v in samples.ravel() for i in range(12)]
        data = np.packbits(digits).tobytes()
    else:
        data = samples.astype(f"{order}{'i' if kind == 2 else 'u'}{bits // 8}").tobytes()
    entries = {256: width, 257: height, 258: bits, 259: 1, 262: 0 if white_is_zero else 1,
               273: 8, 277: 1, 278: height, 279: len(data), 339: kind} | dict(tags)  # fmt: skip
    head = struct.pack(f"{order}2sHI", b"II" if order == "<" else b"MM", 42, 8 + len(data))
    rows = [struct.pack(f"{order}H", len(entries))]
    for tag, value in sorted(entries.items()):
        form = "i" if value < 0 else "I"
        rows.append(struct.pack(f"{order}HHI{form}", tag, 9 if value < 0 else 4, 1, value))
    return head + data + b"".join(rows) + struct.pack(f"{order}I", 0)


def saved(image, kind, **options):
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def grey(data, tmp_path):
    """The values of a grey image, (H, W), the same from a file and from its bytes."""
    (tmp_path / "image").write_bytes(data)
    pixels = decode(tmp_path / "image")
    assert pixels.dtype == torch.uint8 and torch.equal(pixels[0], pixels[1])
    if not data.startswith(b"P"):
        assert torch.equal(decode_bytes(data), pixels)
    return pixels[0].numpy()


@pytest.mark.parametrize(
    "data, wanted",
    [
        (tiff(TWELVE, 12), TWELVE >> 4),
        (tiff(TWELVE, 16, tags={MOST: 4095}), TWELVE >> 4),
        (tiff(TWELVE, 16, order=">", tags={MOST: 4095}), TWELVE >> 4),
        (saved(Image.fromarray(TWELVE), "TIFF", tiffinfo={MOST: 4095}), TWELVE >> 4),
        (tiff(SIXTEEN, 16, tags={MOST: 4095}), np.minimum(SIXTEEN, 4095) >> 4),
        (tiff(SIXTEEN, 16), SIXTEEN >> 8),
        (tiff(SIXTEEN, 16, order=">"), SIXTEEN >> 8),
        (saved(Image.fromarray(SIXTEEN), "TIFF", compression="tiff_lzw"), SIXTEEN >> 8),
        (saved(Image.fromarray(SIXTEEN), "PNG"), SIXTEEN >> 8),
        (tiff(SIXTEEN, 16, white_is_zero=True), 255 - (SIXTEEN >> 8)),
        (tiff(TWELVE.astype(np.int64) * 1000, 32, tags={SIGNED_MOST: 4_095_999}), TWELVE >> 4),
        (tiff(np.array([[0, 2**31, ALL]]), 32, tags={SIGNED_MOST: ALL}), [[0, 128, 255]]),
        (
            tiff(np.array([[-1000, 0, 1000]]), 16, kind=2, tags=signed_range(-1000, 1000)),
            [[0, 127, 255]],
        ),
        (
            tiff(np.array([[-128, 0, 127]]), 8, kind=2, tags=signed_range(-128, 127)),
            [[0, 128, 255]],
        ),
        (b"P5\n4 2\n4095\n" + TWELVE.astype(">u2").tobytes(), TWELVE / 4095 * 255.99),
        (b"P5\n4 2\n65535\n" + SIXTEEN.astype(">u2").tobytes(), SIXTEEN >> 8),
        (b"P2\n3 1\n1000\n0 500 1000\n", [[0, 128, 255]]),
        (b"P5\n3 1\n15\n\x00\x08\x0f", [[0, 136, 255]]),
    ],
    ids=[
        "12 bits", "12 in 16", "12 in 16, big-endian", "12 in 16 by Pillow", "beyond the range",
        "16 bits", "16 bits, big-endian", "16 bits, compressed", "PNG", "white is 0", "32 bits",
        "all of 32 bits", "signed 16", "signed 8", "PGM to 4095", "PGM to 65535", "plain PGM",
        "PGM to 15",
    ],
)  # fmt: skip
def test_samples_are_scaled_from_the_range_that_the_file_declares(data, wanted, tmp_path):
    assert grey(data, tmp_path).tolist() == np.asarray(wanted).astype(int).tolist()


@pytest.mark.parametrize(
    "data, words",
    [
        (tiff(SIXTEEN, 32), "32 bits can be scaled to 8 bits only if .* MaxSampleValue"),
        (saved(Image.fromarray(SIXTEEN.astype(np.int32)), "TIFF"), "signed samples of 32 bits"),
        (tiff(np.array([[-5, 5]]), 16, kind=2), "signed samples of 16 bits .* SMinSampleValue"),
        (tiff(np.array([[-5, 5]]), 16, order=">", kind=2), "signed samples of 16 bits"),
        (tiff(np.array([[-5, 5]]), 8, kind=2), "signed samples of 8 bits"),
        (tiff(np.zeros((1, 2)), 32, kind=3), "floating-point"),
        (tiff(TWELVE, 16), "at most 4095, as if they were of 12 bits .* MaxSampleValue"),
        (saved(Image.fromarray(TWELVE), "PNG"), "at most 4095, as if they were of 12 bits"),
    ],
    ids=[
        *("32", "signed 32", "signed 16", "signed 16, big-endian", "signed 8", "float"),
        *("12 in 16", "12 in 16, PNG"),
    ],
)
def test_samples_without_a_known_range_are_refused(data, words, tmp_path):
    (tmp_path / "a.tif").write_bytes(data)
    for work in (lambda: decode(tmp_path / "a.tif"), lambda: decode_bytes(data)):
        with pytest.raises(BrokenImageError, match=words):
            work()


def test_dark_images_whose_range_is_known_are_read(tmp_path):
    for data in (tiff(TWELVE, 16, tags={MOST: 65535}), tiff(TWELVE * 0, 16)):
        (tmp_path / "a.tif").write_bytes(data)
        assert int(decode(tmp_path / "a.tif").max()) <= 15
    image = saved(Image.fromarray(np.array([[0, 4095, 4096]], np.uint16)), "PNG")
    assert decode_bytes(image)[0].tolist() == [[0, 15, 16]]


def test_a_turned_image_keeps_its_range(tmp_path):
    data = tiff(TWELVE, 16, tags={MOST: 4095, 274: 6})  # shown after a quarter turn clockwise
    assert grey(data, tmp_path).tolist() == np.rot90(TWELVE >> 4, -1).tolist()
    with Image.open(io.BytesIO(thumbnail(data, 100))) as small:
        assert small.size == (2, 4) and np.array(small).max() > 230


def colour_tiff(samples, tags=()):
    """A TIFF of three samples of 16 bits, (H, W, 3)."""
    height, width, _ = samples.shape
    data = samples.astype("<u2").tobytes()
    entries = {256: (4, width), 257: (4, height), 258: (3, 8), 259: (3, 1), 262: (3, 2),
               273: (4, 14), 277: (3, 3), 278: (4, height), 279: (4, len(data))}  # fmt: skip
    entries |= {tag: (4, value) for tag, value in dict(tags).items()}
    head = struct.pack("<2sHI3H", b"II", 42, 14 + len(data), 16, 16, 16)
    rows = struct.pack("<H", len(entries))
    for tag, (form, value) in sorted(entries.items()):
        rows += struct.pack("<HHII", tag, form, 3 if tag == 258 else 1, value)
    return head + data + rows + struct.pack("<I", 0)


def test_colours_of_16_bits_keep_their_upper_bytes(tmp_path):
    samples = np.random.default_rng(0).integers(0, 65536, (3, 4, 3))
    (tmp_path / "a.tif").write_bytes(colour_tiff(samples))
    assert decode(tmp_path / "a.tif").permute(1, 2, 0).tolist() == (samples >> 8).tolist()
    with pytest.raises(BrokenImageError, match="have 16 bits, of which they use 0 to 4095"):
        decode_bytes(colour_tiff(samples >> 4, {MOST: 4095}))


def test_ordinary_images_are_what_they_were(tmp_path):
    """Modes of 8 bits, with a statistic of their samples in the file or without."""
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (5, 6, 3), np.uint8))
    for mode, kind in (
        ("L", "TIFF"), ("RGB", "TIFF"), ("RGBA", "TIFF"), ("CMYK", "TIFF"), ("YCbCr", "TIFF"),
        ("P", "TIFF"), ("1", "TIFF"), ("LA", "TIFF"), ("PA", "TIFF"), ("1", "PNG"), ("LA", "PNG"),
    ):  # fmt: skip
        image = picture.convert("P").convert(mode) if mode == "PA" else picture.convert(mode)
        data = saved(image, kind, **({"tiffinfo": {MOST: 99}} if kind == "TIFF" else {}))
        wanted = np.array(image.convert("RGB"))
        assert decode_bytes(data).permute(1, 2, 0).tolist() == wanted.tolist(), mode


@pytest.mark.parametrize("orientation", range(1, 9))
def test_turned_tiffs_are_the_same_from_a_file_and_from_bytes(orientation, tmp_path):
    pixels = np.arange(8, dtype=np.uint8).reshape(2, 4) * 30
    upright = {
        1: pixels, 2: pixels[:, ::-1], 3: pixels[::-1, ::-1], 4: pixels[::-1], 5: pixels.T,
        6: np.rot90(pixels, -1), 7: pixels[::-1, ::-1].T, 8: np.rot90(pixels),
    }  # fmt: skip
    found = grey(tiff(pixels, 8, tags={274: orientation}), tmp_path)
    assert found.tolist() == upright[orientation].tolist()
