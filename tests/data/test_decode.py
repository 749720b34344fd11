"""Every kind of image becomes RGB uint8; every broken file one error with a path and a cause."""

import io
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
from semicon_fast.data.decode import FORMATS, decode, decode_bytes, thumbnail


def saved(tmp_path: Path, image: Image.Image, name: str, **options: object) -> torch.Tensor:
    image.save(tmp_path / name, **options)
    return decode(tmp_path / name)


def test_rgb_pixels_keep_their_values_and_places(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    image = saved(tmp_path, Image.fromarray(pixels), "a.png")
    assert image.dtype == torch.uint8 and image.shape == (3, 5, 7)
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


def content(image: Image.Image, kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


@pytest.mark.parametrize("kind", FORMATS)
def test_bytes_are_decoded_as_files_are(tmp_path, kind):
    pixels = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    data = content(Image.fromarray(pixels), kind)
    (tmp_path / "a").write_bytes(data)
    assert torch.equal(decode_bytes(data), decode(tmp_path / "a"))


@pytest.mark.parametrize("work", [decode_bytes, lambda data, **o: thumbnail(data, 8, **o)])
def test_bytes_from_anyone_are_refused_with_the_cause(work):
    whole = content(Image.new("RGB", (9, 9), (1, 2, 3)), "PNG")
    many = content(Image.new("RGB", (9, 9)), "JPEG", progressive=True)
    scan = many.rindex(b"\xff\xda")
    for data, cause in (
        (b"", "the file is empty"),
        (b"words", "not an image of a known format"),
        (content(Image.new("RGB", (9, 9)), "PPM"), "not an image of a known format"),
        (content(Image.new("RGB", (9, 9)), "EPS"), "not an image of a known format"),
        (whole[:50], "."),
        (many[:scan] + many[scan:-2] * 101 + many[-2:], "scans, more than 100"),
    ):
        with pytest.raises(BrokenImageError, match=cause) as caught:
            work(data)
        assert caught.value.broken[0].path == ""
    assert work(whole, max_pixels=81) is not None
    with pytest.raises(BrokenImageError, match="more than 80 pixels"):
        work(whole, max_pixels=80)


def test_a_thumbnail_is_upright_small_and_bare():
    image = Image.new("RGB", (400, 200), (200, 30, 30))
    image.paste((30, 30, 200), (0, 0, 200, 200))
    exif = Image.Exif()
    exif[0x0112], exif[0x010E] = 6, "where it was taken"
    with Image.open(io.BytesIO(thumbnail(content(image, "JPEG", exif=exif), 50))) as small:
        assert (small.format, small.size) == ("JPEG", (25, 50)) and not small.getexif()
        top, bottom = (np.array(small)[y, 12].astype(int) for y in (3, 46))
    assert top[2] > 150 > top[0] and bottom[0] > 150 > bottom[2]
    assert Image.open(io.BytesIO(thumbnail(content(image, "PNG"), 900))).size == (400, 200)
