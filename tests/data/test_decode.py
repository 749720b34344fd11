"""Every kind of image becomes RGB uint8; every broken file one error with a path and a cause."""

import pickle
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from semicon_fast.data import BrokenImageError
from semicon_fast.data import decode as decode_module
from semicon_fast.data.decode import decode


def saved(tmp_path: Path, image: Image.Image, name: str, **options: object) -> torch.Tensor:
    image.save(tmp_path / name, **options)
    return decode(tmp_path / name)


def test_rgb_pixels_keep_their_values_and_places(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    image = saved(tmp_path, Image.fromarray(pixels), "a.png")
    assert image.dtype == torch.uint8 and image.is_contiguous()
    assert torch.equal(image, torch.from_numpy(pixels).permute(2, 0, 1))


def test_grey_becomes_three_equal_channels(tmp_path):
    image = saved(tmp_path, Image.new("L", (4, 3), 77), "a.png")
    assert image.shape == (3, 3, 4) and (image == 77).all()


def test_alpha_is_dropped_and_colours_stay(tmp_path):
    image = saved(tmp_path, Image.new("RGBA", (4, 3), (10, 20, 30, 0)), "a.png")
    assert image[:, 0, 0].tolist() == [10, 20, 30]


@pytest.mark.filterwarnings("error")
def test_palette_with_transparency_gives_its_colours(tmp_path):
    picture = Image.new("P", (4, 3), 1)
    picture.putpalette([0, 0, 0, 200, 100, 50])
    image = saved(tmp_path, picture, "a.png", transparency=b"\x00\x80")
    assert image[:, 0, 0].tolist() == [200, 100, 50]


def test_cmyk_jpeg_gives_its_colours(tmp_path):
    picture = Image.new("RGB", (16, 16), (200, 30, 30)).convert("CMYK")
    image = saved(tmp_path, picture, "a.jpg", quality=95)
    assert (image[:, 8, 8].int() - torch.tensor([200, 30, 30])).abs().max() < 6


def test_16_bit_grey_keeps_its_upper_byte(tmp_path):
    values = np.array([[0, 255, 256], [32768, 65280, 65535]], dtype=np.uint16)
    image = saved(tmp_path, Image.fromarray(values), "a.png")
    assert image[0].tolist() == [[0, 0, 1], [128, 255, 255]]
    assert torch.equal(image[0], image[2])


def test_exif_orientation_turns_the_picture_upright(tmp_path):
    picture = Image.new("RGB", (4, 2), (0, 0, 0))
    picture.putpixel((0, 0), (255, 255, 255))
    exif = Image.Exif()
    exif[0x0112] = 6  # shown after a quarter turn clockwise
    image = saved(tmp_path, picture, "a.png", exif=exif)
    assert image.shape == (3, 4, 2)
    assert image[0, 0].tolist() == [0, 255]


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
def test_unreadable_exif_is_ignored(tmp_path):
    picture = Image.new("RGB", (8, 8), (9, 9, 9))
    image = saved(tmp_path, picture, "a.jpg", exif=b"Exif\x00\x00MM\x00*\x00\x00\xff\xff")
    assert image.shape == (3, 8, 8)


def truncated(path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    path.write_bytes(path.read_bytes()[:1500])


def huge(path: Path) -> None:
    """A PNG whose header alone promises 30,000 x 30,000 pixels."""
    header = struct.pack(">IIBBBBB", 30_000, 30_000, 8, 2, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(b"")), (b"IEND", b"")]
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + b"".join(
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
            for kind, data in chunks
        )
    )


@pytest.mark.parametrize(
    ("make", "cause"),
    [
        (truncated, "truncated"),
        (huge, "more than 89478485 pixels"),
        (lambda path: path.write_text("not a picture"), "not an image of a known format"),
        (lambda path: path.write_bytes(b""), "the file is empty"),
        (lambda path: None, "there is no such file"),
        (lambda path: path.mkdir(), "directory"),
    ],
    ids=["truncated", "huge", "text", "empty", "missing", "folder"],
)
def test_a_broken_file_is_named_with_its_cause(tmp_path, make, cause):
    path = tmp_path / "broken.jpg"
    make(path)
    with pytest.raises(BrokenImageError, match=cause) as caught:
        decode(path)
    assert str(path) in str(caught.value)
    assert caught.value.broken[0].path == str(path)


def test_pixel_limit_is_inclusive(tmp_path, monkeypatch):
    monkeypatch.setattr(decode_module, "MAX_PIXELS", 12)
    assert saved(tmp_path, Image.new("RGB", (4, 3)), "a.png").shape == (3, 3, 4)
    with pytest.raises(BrokenImageError, match="more than 12 pixels"):
        saved(tmp_path, Image.new("RGB", (13, 1)), "b.png")


def test_floating_point_pixels_are_refused(tmp_path):
    with pytest.raises(BrokenImageError, match="floating-point"):
        saved(tmp_path, Image.new("F", (4, 3), 0.5), "a.tiff")


def test_the_error_survives_pickling_between_processes():
    error = BrokenImageError("1 image does not decode: a.jpg (why)")
    assert str(pickle.loads(pickle.dumps(error))) == str(error)
