"""A gallery is written whole or not at all, and says what is wrong with a damaged one."""

import json
import os

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nasty_names import ANY_TEXT, NAMES

from semicon_fast.search.gallery import Gallery, open_index


@pytest.fixture
def gallery():
    codes = np.arange(10, dtype=np.uint8).reshape(5, 2)
    codes[:, 1] &= 0x0F
    names = [f"image, {i}.png" for i in range(5)]
    return Gallery(codes, 12, names, ["a", "b", "", "ü", 'quo"te'], {"model": "m"})


def test_what_was_saved_is_opened(gallery, tmp_path):
    gallery.save(tmp_path / "g")
    opened = Gallery.open(tmp_path / "g")
    assert np.array_equal(opened.codes, gallery.codes)
    assert (opened.bits, opened.images, opened.labels) == (12, gallery.images, gallery.labels)
    assert opened.info == {"model": "m"}


def test_an_existing_gallery_is_kept_unless_told(gallery, tmp_path):
    gallery.save(tmp_path / "g")
    with pytest.raises(FileExistsError, match="exists already"):
        gallery.save(tmp_path / "g")
    smaller = Gallery(gallery.codes[:2], 12, gallery.images[:2])
    smaller.save(tmp_path / "g", overwrite=True)
    assert len(Gallery.open(tmp_path / "g")) == 2
    assert [p.name for p in tmp_path.iterdir()] == ["g"]


@pytest.mark.parametrize("when", ["csv", "rename"])
def test_a_failure_while_saving_keeps_the_old_gallery(gallery, tmp_path, monkeypatch, when):
    gallery.save(tmp_path / "g")

    def fail(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(*{"csv": ("csv.writer", fail), "rename": (os, "rename", fail)}[when])
    with pytest.raises(OSError):
        Gallery(gallery.codes[:1], 12, ["x"]).save(tmp_path / "g", overwrite=True)
    monkeypatch.undo()
    assert len(Gallery.open(tmp_path / "g")) == 5
    assert [p.name for p in tmp_path.iterdir()] == ["g"]


def test_a_failed_swap_puts_the_old_gallery_back(gallery, tmp_path, monkeypatch):
    gallery.save(tmp_path / "g")
    real, calls = os.rename, []

    def second_fails(source, target):
        calls.append(source)
        if len(calls) == 2:
            raise OSError(5, "Input/output error")
        real(source, target)

    monkeypatch.setattr(os, "rename", second_fails)
    with pytest.raises(OSError):
        Gallery(gallery.codes[:1], 12, ["x"]).save(tmp_path / "g", overwrite=True)
    assert len(Gallery.open(tmp_path / "g")) == 5
    assert [p.name for p in tmp_path.iterdir()] == ["g"]


@pytest.mark.parametrize(
    "damage, sentence",
    [
        (lambda g: (g / "gallery.json").unlink(), "is no gallery"),
        (lambda g: (g / "gallery.json").write_text("{"), "no readable gallery"),
        (lambda g: (g / "gallery.json").write_text('{"format": 9}'), "newer than this version"),
        (lambda g: (g / "codes.npy").write_bytes(b"\x93NUMPY"), "no readable gallery"),
        (lambda g: np.save(g / "codes.npy", np.zeros((4, 2), np.uint8)), "is damaged"),
        (lambda g: (g / "images.csv").write_text("id,image,label\n"), "is damaged"),
    ],
)
def test_damage_is_named(gallery, tmp_path, damage, sentence):
    gallery.save(tmp_path / "g")
    damage(tmp_path / "g")
    with pytest.raises(ValueError, match=sentence):
        Gallery.open(tmp_path / "g")


def test_codes_with_pickled_objects_are_refused(gallery, tmp_path):
    gallery.save(tmp_path / "g")
    np.save(tmp_path / "g" / "codes.npy", np.array([{}], object), allow_pickle=True)
    with pytest.raises(ValueError, match="no readable gallery"):
        Gallery.open(tmp_path / "g")


def test_images_and_codes_must_be_equally_many(gallery):
    with pytest.raises(ValueError, match="equally many, got 5, 4 and 4"):
        Gallery(gallery.codes, 12, gallery.images[:4])


def test_the_saved_index_is_used_and_checked(gallery, tmp_path):
    gallery.save(tmp_path / "g")
    assert len(open_index(tmp_path / "g", gallery)) == 5
    gallery.build_index().save(tmp_path / "g" / "index.hamming")
    distances, ids = open_index(tmp_path / "g", gallery).search(gallery.codes[3:4], 1)
    assert distances.tolist() == [[0]] and ids.tolist() == [[3]]
    other = Gallery(gallery.codes[:2], 12, gallery.images[:2])
    with pytest.raises(ValueError, match="build it again"):
        open_index(tmp_path / "g", other)


def test_info_is_json(gallery, tmp_path):
    gallery.save(tmp_path / "g")
    assert json.loads((tmp_path / "g" / "gallery.json").read_text())["bits"] == 12


@settings(max_examples=40, deadline=None)
@given(rows=st.lists(st.tuples(ANY_TEXT, ANY_TEXT), min_size=1, max_size=8))
def test_any_text_is_read_as_it_was_written(tmp_path_factory, rows):
    folder = tmp_path_factory.mktemp("any") / "g"
    images, labels = map(list, zip(*rows, strict=True))
    Gallery(np.zeros((len(rows), 2), np.uint8), 12, images, labels).save(folder)
    found = Gallery.open(folder)
    assert found.images == images and found.labels == labels


def test_nasty_names_and_a_very_long_label_are_read_as_they_were_written(tmp_path):
    labels = [*NAMES, "l" * 200_000, ""]
    Gallery(np.zeros((len(labels), 2), np.uint8), 12, labels, labels).save(tmp_path / "g")
    found = Gallery.open(tmp_path / "g")
    assert found.images == found.labels == labels


def test_the_file_holds_the_bytes_of_a_name_that_is_not_utf8(tmp_path):
    Gallery(np.zeros((1, 2), np.uint8), 12, [os.fsdecode(b"K\xf6nig.png")], ["x"]).save(
        tmp_path / "g"
    )
    assert b"0,K\xf6nig.png,x\r\n" in (tmp_path / "g" / "images.csv").read_bytes()


def test_what_is_neither_text_nor_a_name_is_refused_and_nothing_is_left(tmp_path):
    wrong = Gallery(np.zeros((2, 2), np.uint8), 12, ["a", "b"], ["x", "half \ud83d"])
    with pytest.raises(ValueError, match=r"the label of image 1 must be text .* \\ud83d at 5 of"):
        wrong.save(tmp_path / "g")
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_list_of_images_is_one_sentence(gallery, tmp_path):
    gallery.save(tmp_path / "g")
    (tmp_path / "g" / "images.csv").write_text("id,picture\n0,a\n")
    with pytest.raises(ValueError, match="g is no readable gallery"):
        Gallery.open(tmp_path / "g")


def test_a_gallery_may_have_the_longest_name(gallery, tmp_path):
    folder = tmp_path / ("g" * 255)
    gallery.save(folder)
    gallery.save(folder, overwrite=True)
    assert len(Gallery.open(folder)) == 5
