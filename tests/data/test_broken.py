"""Broken files: one error that names all of them, or left out and counted."""

import pytest
import torch

from semicon_fast.data import BrokenImageError, load


@pytest.fixture
def damaged(folder):
    (folder / "train" / "ant" / "1.png").write_text("text")
    (folder / "test" / "bee" / "0.png").write_bytes(b"")
    return folder


def test_verification_names_every_broken_file_once(damaged):
    with pytest.raises(BrokenImageError, match="2 images do not decode") as caught:
        load("folder", damaged, verify=True)
    assert {file.path.split("insects/")[1] for file in caught.value.broken} == {
        "train/ant/1.png",
        "test/bee/0.png",
    }
    assert "1.png (the file is not an image" in str(caught.value)
    assert "0.png (the file is empty)" in str(caught.value)


def test_without_verification_the_error_comes_where_the_file_is_decoded(damaged):
    data = load("folder", damaged)
    assert data.train.image(0).shape[0] == 3
    with pytest.raises(BrokenImageError, match=r"1 image does not decode: .*ant/1\.png"):
        data.train.image(1)


def test_skipping_drops_them_and_says_so(damaged):
    data = load("folder", damaged, on_broken="skip")
    assert (len(data.train), len(data.query), len(data.skipped)) == (5, 3, 2)
    assert data.train.labels.tolist() == [0, 0, 1, 1, 1]
    assert data.query.identifier(2) == "test/bee/1.png"
    assert "3 queries against 5 database images" in data.protocol
    assert "2 broken images left out" in data.protocol
    data.verify()


def test_skipping_moves_the_rows_of_training_images_in_the_database(tmp_path, paint):
    for i in range(6):
        paint(tmp_path / f"{i}.png", seed=i)
    (tmp_path / "1.png").write_text("text")
    (tmp_path / "train.txt").write_text("1.png 0\n3.png 0\n5.png 1\n0.png 1\n")
    (tmp_path / "database.txt").write_text("0.png 1\n1.png 0\n3.png 0\n4.png 1\n")
    (tmp_path / "test.txt").write_text("2.png 0\n")
    data = load("list", tmp_path, database="database.txt", on_broken="skip")
    assert data.train_rows.tolist() == [1, -1, 0]
    for row, place in enumerate(data.train_rows.tolist()):
        if place >= 0:
            assert data.train.identifier(row) == data.database.identifier(place)


def test_skipping_also_covers_missing_files(folder, tmp_path):
    (tmp_path / "train.txt").write_text("train/ant/0.png 0\ntrain/ant/9.png 0\ntrain/bee/0.png 1\n")
    (tmp_path / "test.txt").write_text("test/ant/0.png 0\n")
    with pytest.raises(ValueError, match=r"1 listed images of .* are missing.*ant/9\.png"):
        load("list", folder, train=str(tmp_path / "train.txt"), query=str(tmp_path / "test.txt"))
    data = load(
        "list",
        folder,
        train=str(tmp_path / "train.txt"),
        query=str(tmp_path / "test.txt"),
        on_broken="skip",
    )
    assert data.skipped[0].cause == "there is no such file" and len(data.train) == 2


def test_a_set_with_nothing_left_is_refused(folder):
    for path in (folder / "test").rglob("*.png"):
        path.write_text("text")
    with pytest.raises(BrokenImageError, match="4 images do not decode"):
        load("folder", folder, on_broken="skip")


def test_whole_data_is_returned_as_it_is(folder):
    data = load("folder", folder)
    assert data.without_broken() is data and data.skipped == ()


def test_progress_reports_each_file_once(folder):
    seen = []
    load("folder", folder, verify=True, progress=lambda done, total: seen.append((done, total)))
    assert seen[-1] == (10, 10) and len(seen) == 10


def test_an_unknown_way_to_treat_broken_files_is_refused(folder):
    with pytest.raises(ValueError, match='on_broken must be "error" or "skip"'):
        load("folder", folder, on_broken="ignore")


def test_cached_data_shares_the_images_of_training_set_and_database(folder):
    data = load("folder", folder).cached()
    assert data.train is data.database
    assert torch.equal(data.query.image(0), load("folder", folder).query.image(0))
