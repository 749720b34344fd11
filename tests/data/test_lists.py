"""Text lists with one label or several."""

import pytest
import torch

from semicon_fast.data import load


@pytest.fixture
def lists(tmp_path, paint):
    """write(train=..., test=..., database=...) makes lists of lines; pictures 0.png ... 7.png."""
    for i in range(8):
        paint(tmp_path / f"{i}.png", seed=i)

    def write(**files):
        for name, lines in files.items():
            (tmp_path / f"{name}.txt").write_text("\n".join(lines) + "\n")
        return tmp_path

    return write


def test_single_labels(lists):
    data = load("list", lists(train=["0.png 0", "1.png\t1", "./2.png 1"], test=["3.png 1"]))
    assert data.train.labels.tolist() == [0, 1, 1] and data.train.labels.dtype == torch.int64
    assert data.database is data.train and data.query.identifier(0) == "3.png"


def test_several_labels_and_a_database_of_its_own(lists):
    root = lists(
        train=["0.png 1 0 1", "1.png 0 1 0"],
        test=["2.png 0 0 1"],
        database=["3.png 1 1 0", "1.png 0 1 0", "4.png 0 0 0"],
    )
    data = load("list", root, database="database.txt", classes=["sky", "sea", "sand"])
    assert data.train.labels.tolist() == [[True, False, True], [False, True, False]]
    assert data.train_rows.tolist() == [-1, 1]
    assert data.database.labels.shape == (3, 3) and data.query.classes == ("sky", "sea", "sand")
    assert "1 queries against 3 database images, 2 training images; 3 labels" in data.protocol


def test_lists_that_count_from_one(lists):
    root = lists(train=["0.png 1", "1.png 2"], test=["2.png 2"])
    with pytest.raises(ValueError, match="no image has label 0, .* need first_label=1"):
        load("list", root)
    assert load("list", root, first_label=1).train.labels.tolist() == [0, 1]


def test_paths_may_have_spaces_and_another_folder(lists, paint):
    root = lists(train=["a b 1.png 0", "a b 2.png 1"], test=["sub/a.png 1"])
    for name in ("a b 1.png", "a b 2.png", "sub/a.png"):
        paint(root / "pictures" / name)
    data = load("list", root, images="pictures", verify=True)
    assert data.train.identifier(0) == "a b 1.png"


@pytest.mark.parametrize(
    ("train", "test", "message"),
    [
        (["0.png"], ["2.png 0"], 'train.txt line 1 must be "path label"'),
        (["0.png cat"], ["2.png 0"], 'train.txt line 1 must be "path label"'),
        ([], ["2.png 0"], "train.txt lists no images"),
        (["0.png 0", "1.png 0 1"], ["2.png 0"], "line 2 has 2 labels, the earlier lines have 1"),
        (["0.png 0 1"], ["2.png 0"], "same number of labels per line, got train.txt 2, test.txt 1"),
        (["0.png 0 2"], ["2.png 0 1"], "each be 0 or 1, 0.png has others"),
        (["0.png -1", "1.png 0"], ["2.png 0"], "labels must be 0 or more .* got -1"),
        (["0.png 0", "1.png 7000000"], ["2.png 0"], "3 images, but a label 7000000"),
        (["0.png 0", "2.png 1"], ["2.png 0"], "queries .* are in the database too, such as 2.png"),
        (["0.png 0", "0.png 1"], ["2.png 0"], "gives 0.png different labels than an earlier line"),
    ],
)
def test_lists_that_contradict_themselves_are_refused(train, test, message, lists):
    with pytest.raises(ValueError, match=message):
        load("list", lists(train=train, test=test))


def test_labels_must_fit_the_given_classes(lists):
    root = lists(train=["0.png 0", "1.png 2"], test=["2.png 1"])
    with pytest.raises(ValueError, match=r"labels must lie in 0\.\.1 \(2 classes\), got 2"):
        load("list", root, classes=["a", "b"])
    root = lists(train=["0.png 0 1"], test=["2.png 1 1"])
    with pytest.raises(ValueError, match="classes must be 2 names, one per label, got 3"):
        load("list", root, classes=["a", "b", "c"])


def test_queries_in_the_database_are_taken_on_request(lists):
    root = lists(train=["0.png 0", "1.png 1"], test=["1.png 1"])
    assert len(load("list", root, allow_overlap=True).query) == 1


def test_a_missing_list_is_named(lists):
    with pytest.raises(ValueError, match="there is no file .*test.txt"):
        load("list", lists(train=["0.png 0"]))


def test_classes_are_named_by_the_first_folders_that_tell_them_apart(tmp_path, paint):
    def classes(*paths):
        for number, path in enumerate(paths):
            paint(tmp_path / path, seed=number)
        lines = [f"{path} {number // 2}\n" for number, path in enumerate(paths)]
        (tmp_path / "train.txt").write_text("".join(lines))
        (tmp_path / "test.txt").write_text(f"{paths[0]} 0\n")
        return load("list", tmp_path, allow_overlap=True).train.classes

    assert classes("cat/a/0.png", "cat/1.png", "dog/a/2.png", "dog/3.png") == ("cat", "dog")
    kinds = ("x/ox/0.png", "x/ox/1.png", "x/yak/2.png", "x/yak/3.png")
    assert classes(*kinds) == ("ox", "yak")
    assert classes(*kinds[:3], "y/yak/3.png") == ("ox", "yak")
