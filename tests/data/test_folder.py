"""Image folders, split on disk or by a seed."""

import pytest
import torch

from semicon_fast.data import load


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
