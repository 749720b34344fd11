"""Image folders, split on disk or by a seed."""

import os

import pytest
import torch

from semicon_fast.data import load, passed_over
from semicon_fast.data.folder import load as load_folder
from semicon_fast.data.folder import numbered


def names(images):
    return [images.identifier(i) for i in range(len(images))]


def test_train_is_the_database_and_test_the_queries(folder):
    data = load("folder", folder)
    assert names(data.train) == [f"train/{c}/{i}.png" for c in ("ant", "bee") for i in range(3)]
    assert names(data.query) == [f"test/{c}/{i}.png" for c in ("ant", "bee") for i in range(2)]
    assert data.database is data.train and data.train_rows.tolist() == list(range(6))
    assert data.train.classes == ("ant", "bee")
    assert data.query.labels.tolist() == [0, 0, 1, 1]
    assert "4 queries against 6 database images" in data.protocol
    assert data.name == "insects"


def test_validation_joins_training_or_gives_the_queries_on_request(folder):
    assert len(load("folder", folder, validation="train").train) == 8
    assert names(load("folder", folder, validation="query").query) == [
        "val/ant/0.png",
        "val/bee/0.png",
    ]


def test_a_flat_folder_is_split_by_its_seed(folder):
    flat = folder / "train"
    data = load("folder", flat, query_fraction=0.34, seed=5)
    assert len(data.query) == 2 and data.query.labels.tolist() == [0, 1]
    assert sorted(names(data.query) + names(data.database)) == sorted(
        f"{c}/{i}.png" for c in ("ant", "bee") for i in range(3)
    )
    assert names(load("folder", flat, query_fraction=0.34, seed=5).query) == names(data.query)
    drawn = {tuple(names(load("folder", flat, seed=seed).query)) for seed in range(12)}
    assert len(drawn) > 1


def test_every_class_keeps_a_query_and_a_database_image(folder):
    for fraction in (0.01, 0.99):
        data = load("folder", folder / "train", query_fraction=fraction)
        assert set(data.query.labels.tolist()) == set(data.database.labels.tolist()) == {0, 1}


def test_other_files_and_hidden_ones_are_passed_over(folder, paint):
    (folder / "train" / "ant" / "notes.txt").write_text("x")
    paint(folder / "train" / "ant" / ".hidden.png")
    paint(folder / "train" / ".cache" / "a.png")
    paint(folder / "train" / "ant" / "more" / "UPPER.PNG")
    assert len(load("folder", folder).train) == 7


def test_what_is_wrong_with_a_folder_is_one_sentence(folder, tmp_path, paint):
    def refused(message, root, **options):
        with pytest.raises(ValueError, match=message):
            load("folder", root, **options)

    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("x")
    refused("root must be an existing folder, found nothing", tmp_path / "none")
    refused("root must be an existing folder, found a file", tmp_path / "file")
    refused("has no class folders", tmp_path / "empty")
    refused("needs root", None)
    refused("validation must be", folder, validation="x")
    refused("needs a folder train/", folder / "train", validation="train")
    refused("query_fraction must lie between 0 and 1", folder / "train", query_fraction=1.0)
    refused("options of folder are .*query_fraction.*got fraction", folder, fraction=0.5)
    paint(folder / "test" / "wasp" / "0.png")
    refused("class folder 'wasp' that the training images do not have", folder)


def test_a_class_with_one_training_image_is_refused(folder, paint):
    paint(folder / "train" / "wasp" / "0.png")
    with pytest.raises(ValueError, match="class 'wasp' of .* at least 2 training images.* got 1"):
        load("folder", folder)


def test_a_split_without_queries_is_refused(folder):
    for path in sorted((folder / "test").rglob("*"), reverse=True):
        path.unlink() if path.is_file() else path.rmdir()
    (folder / "test").rmdir()
    with pytest.raises(ValueError, match="has no folder test/ with the queries"):
        load("folder", folder)
    assert len(load("folder", folder, validation="query").query) == 2


def test_labels_are_int64(folder):
    assert load("folder", folder).train.labels.dtype == torch.int64


def test_what_is_passed_over_is_counted_and_in_the_protocol(folder, paint):
    paint(folder / "train" / "loose.png")
    paint(folder / "extra" / "x" / "0.png")
    (folder / "train" / "ant" / "._0.png").write_bytes(b"x")
    (folder / "train" / "wasp").mkdir()
    (folder / "README").write_text("x")
    os.symlink("../bee/0.png", folder / "train" / "ant" / "bee.png")
    data = load("folder", folder)
    assert data.passed_over == {
        passed_over.HIDDEN: 1, passed_over.OTHER: 1, passed_over.LINKED_IMAGES: 1,
        passed_over.LOOSE: 1, passed_over.EMPTY: 1, passed_over.BESIDE: 2,
    }  # fmt: skip
    assert data.train.classes == ("ant", "bee") and len(data.train) == 6
    assert ", passed over 7 (1 hidden file or folder, 1 other file, " in data.protocol
    (folder / "train" / "bee" / "1.png").write_text("text")
    left = load("folder", folder, on_broken="skip")
    assert left.passed_over == {**data.passed_over, passed_over.BROKEN: 1}
    assert "2 folders outside the split), 1 broken image left out: 4 queries" in left.protocol
    assert left.cached().passed_over == left.passed_over


def test_nothing_passed_over_is_not_said(folder):
    data = load("folder", folder / "train")
    assert data.passed_over == {} and "passed over" not in data.protocol


def test_links_that_would_mix_queries_and_database_are_not_followed(folder):
    os.symlink(".", folder / "train" / "ant" / "latest")
    os.symlink("../../train/ant", folder / "test" / "ant" / "more")
    os.symlink("../../train/ant/0.png", folder / "test" / "ant" / "again.png")
    data = load("folder", folder)
    real = [os.path.realpath(folder / name) for name in names(data.train) + names(data.query)]
    assert len(real) == len(set(real)) == 10
    assert data.passed_over[passed_over.LINKED_FOLDERS] == 1
    assert data.passed_over[passed_over.LOOPS] == 1
    assert data.passed_over[passed_over.LINKED_IMAGES] == 1


def test_a_split_of_links_into_a_folder_beside_it_is_read(folder, paint):
    for i in range(8):
        paint(folder.parent / "links" / "all" / f"{i}.png", seed=i)
        place = folder.parent / "links" / ("train" if i < 4 else "test") / "ab"[i % 2]
        place.mkdir(parents=True, exist_ok=True)
        os.symlink(f"../../all/{i}.png", place / f"{i}.png")
    data = load("folder", folder.parent / "links")
    assert names(data.train) == [f"train/{'ab'[i % 2]}/{i}.png" for i in (0, 2, 1, 3)]
    assert data.query.labels.tolist() == [0, 0, 1, 1]


def test_images_in_folders_inside_class_folders_have_the_label_of_the_class(folder, paint):
    paint(folder / "train" / "ant" / "monday" / "deep" / "9.png")
    data = load("folder", folder / "train")
    labels = {**dict(zip(names(data.train), data.train.labels.tolist(), strict=True)),
              **dict(zip(names(data.query), data.query.labels.tolist(), strict=True))}  # fmt: skip
    assert labels["ant/monday/deep/9.png"] == 0 and len(labels) == 7


def test_a_class_called_train_is_a_class(tmp_path, paint):
    for name in ("boat", "car", "train"):
        for i in range(2):
            paint(tmp_path / name / f"{i}.png", seed=i)
    assert load("folder", tmp_path).train.classes == ("boat", "car", "train")


def test_a_folder_whose_images_are_all_passed_over_says_why(tmp_path, paint):
    paint(tmp_path / "loose.png")
    paint(tmp_path / "ant" / ".0.png")
    sentence = "no class folders with images; passed over 3: 1 hidden .*, 1 image outside class"
    with pytest.raises(ValueError, match=sentence):
        load("folder", tmp_path)


def test_each_folder_is_read_once_and_classes_are_looked_up(tmp_path, monkeypatch):
    count = 50
    for i in range(count):
        for j in range(2):
            (tmp_path / f"{i:02}").mkdir(exist_ok=True)
            (tmp_path / f"{i:02}" / f"{j}.png").write_bytes(b"")
    scan, read = os.scandir, []
    monkeypatch.setattr(os, "scandir", lambda path: read.append(os.fspath(path)) or scan(path))
    assert len(load_folder(tmp_path).train.classes) == count
    inside = [path for path in read if os.path.basename(path).isdecimal()]
    assert len(set(inside)) == len(inside) == count and len(read) <= count + 4

    class Classes(list):
        passes = 0

        def __iter__(self):
            self.passes += 1
            return super().__iter__()

        def index(self, *_):
            raise AssertionError("a search through all classes for each image")

        __contains__ = index

    classes = Classes("ab")
    found = [("b", "b/0.png"), ("a", "a/0.png")] * 9
    assert numbered(found, classes, tmp_path)[:2] == [("b/0.png", 1), ("a/0.png", 0)]
    assert classes.passes == 1
