"""A gallery's files and no others: links, pipes, names that climb, files that changed."""

import io
import os
import tarfile

import numpy as np
import pytest

from semicon_fast.search.gallery import Gallery
from semicon_fast.serve.pictures import MissingImageError, Pictures


@pytest.fixture
def pictures(tmp_path):
    def pictures(*names):
        codes = np.zeros((len(names), 1), np.uint8)
        return Pictures(Gallery(codes, 8, [str(n) for n in names]), tmp_path / "gallery")

    (tmp_path / "gallery").mkdir()
    return pictures


def refused(pictures, number=0):
    for read in (
        lambda n: pictures.small(n, 64),
        pictures.pixels,
        lambda n: pictures.version(n, 64),
    ):
        with pytest.raises(MissingImageError, match="^image 0 ") as caught:
            read(number)
        assert "/" not in str(caught.value)
    return str(caught.value)


def test_files_and_names_within_the_gallery_are_read(pictures, tmp_path, make_picture):
    make_picture(0).save(tmp_path / "a.png")
    make_picture(1).save(tmp_path / "gallery" / "b.png")
    found = pictures(tmp_path / "a.png", "b.png", "./b.png")
    for number in range(3):
        assert found.pixels(number).shape == (3, 48, 48)
        assert found.small(number, 16).startswith(b"\xff\xd8")
    assert [found.name(n) for n in range(3)] == ["a.png", "b.png", "b.png"]
    assert (
        Pictures(Gallery(np.zeros((1, 1), np.uint8), 8, [r"C:\secret\a.png"]), ".").name(0)
        == "a.png"
    )


def test_images_in_archives_are_read(pictures, tmp_path, make_picture, make_file, monkeypatch):
    parquet = pytest.importorskip("pyarrow.parquet")
    import pyarrow

    files = [make_file(make_picture(i)) for i in range(3)]
    parquet.write_table(pyarrow.table({"image": files}), tmp_path / "p.parquet")

    def write(*members):
        with tarfile.open(tmp_path / "a.tar", "w") as tar:
            for name, content in members:
                about = tarfile.TarInfo(name)
                about.size = len(content)
                tar.addfile(about, io.BytesIO(content))

    write(("c/0.png", files[0]), ("c/1.png", files[1]))
    names = [f"{tmp_path}/{name}" for name in ("a.tar/c/1.png", "p.parquet#2", "a.tar/c/0.png")]
    found = pictures(*names)
    expected = [np.asarray(make_picture(i)) for i in (1, 2, 0)]
    for number, pixels in enumerate(expected):
        assert (found.pixels(number).permute(1, 2, 0).numpy() == pixels).all()
        assert found.small(number, 16).startswith(b"\xff\xd8") and found.version(number, 16)
    monkeypatch.setattr("semicon_fast.serve.pictures.MAX_BYTES", len(files[1]) - 1)
    with pytest.raises(MissingImageError, match="image 0 is too large"):
        found.pixels(0)
    monkeypatch.undo()
    version = found.version(2, 16)
    write(("c/2.png", files[1]), ("c/0.png", files[2]), ("x", b""))
    assert (found.pixels(2).permute(1, 2, 0).numpy() == expected[1]).all()
    assert found.version(2, 16) != version
    with pytest.raises(MissingImageError, match="image 0 is no longer at the path"):
        found.pixels(0)
    (tmp_path / "link.tar").symlink_to(tmp_path / "a.tar")
    refused(pictures(f"{tmp_path}/link.tar/c/0.png"))
    os.link(tmp_path / "a.tar", tmp_path / "gallery" / "inside.tar")
    refused(pictures("inside.tar/c/0.png"))  # `encode` writes absolute names
    with pytest.raises(MissingImageError):
        pictures(f"{tmp_path}/a.tar/../a.tar/c/0.png").pixels(0)


def test_a_link_that_took_a_files_place_is_not_followed(pictures, tmp_path, make_picture):
    make_picture(0).save(tmp_path / "elsewhere.png")
    (tmp_path / "a.png").symlink_to(tmp_path / "elsewhere.png")
    assert "no longer at the path" in refused(pictures(tmp_path / "a.png"))
    (tmp_path / "inside").symlink_to(tmp_path)
    refused(pictures(tmp_path / "inside" / "elsewhere.png"))


def test_relative_names_do_not_climb_out(pictures, tmp_path, make_picture):
    make_picture(0).save(tmp_path / "outside.png")
    (tmp_path / "gallery" / "link.png").symlink_to(tmp_path / "outside.png")
    for name in ("../outside.png", "link.png", "x/../../outside.png", "..", ".", ""):
        refused(pictures(name))


def test_what_is_no_file_is_not_waited_for(pictures, tmp_path):
    os.mkfifo(tmp_path / "pipe.png")
    for path in (tmp_path / "pipe.png", tmp_path, "/dev/zero", tmp_path / "gone.png", "a\0b"):
        with pytest.raises(MissingImageError):
            pictures(path).pixels(0)


def test_what_is_no_image_is_not_shown(pictures, tmp_path):
    (tmp_path / "words.png").write_text("root:x:0:0")
    with pytest.raises(MissingImageError, match="^image 0 cannot be decoded$"):
        pictures(tmp_path / "words.png").small(0, 64)


def test_the_version_follows_the_file(pictures, tmp_path, make_picture):
    make_picture(0).save(tmp_path / "a.png")
    found = pictures(tmp_path / "a.png")
    first = found.version(0, 64)
    assert found.version(0, 64) == first != found.version(0, 65)
    os.utime(tmp_path / "a.png", ns=(1, 1))
    assert found.version(0, 64) != first
