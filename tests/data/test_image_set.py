"""Image sets: views of one source, with labels that fit."""

import os
import pickle
from multiprocessing.reduction import ForkingPickler

import numpy as np
import pytest
import torch

from semicon_fast.data import BrokenImageError, HashingData, ImageSet
from semicon_fast.data.hashing_data import split
from semicon_fast.data.image_set import Files, Memory


@pytest.fixture
def files(tmp_path, paint):
    for i in range(5):
        paint(tmp_path / f"{i}.png", width=8 + i, seed=i)
    source = Files(tmp_path, [f"{i}.png" for i in range(5)])
    return ImageSet("five", source, torch.tensor([0, 1, 0, 1, 2]), ["a", "b", "c"])


def test_a_subset_of_a_subset_keeps_images_labels_and_names(files):
    part = files.subset([4, 2, 1]).subset([2, 0])
    assert part.labels.tolist() == [1, 2]
    assert [part.identifier(i) for i in range(len(part))] == ["1.png", "4.png"]
    assert torch.equal(part.image(1), files.image(4))


def test_positions_outside_the_set_are_refused(files):
    with pytest.raises(ValueError, match=r"indices must lie in 0\.\.4, got 2\.\.5"):
        files.subset([2, 5])
    with pytest.raises(IndexError):
        files.image(5)
    assert torch.equal(files.image(-1), files.image(4))


def test_cached_images_equal_decoded_ones_and_need_no_files(files, tmp_path):
    before = [files.image(i) for i in range(5)]
    cached = files.cached()
    for path in tmp_path.glob("*.png"):
        path.unlink()
    assert all(torch.equal(cached.image(i), before[i]) for i in range(5))
    assert cached.identifier(3) == "3.png"
    assert torch.equal(cached.labels, files.labels)


def test_cached_reduces_the_shorter_side_and_never_enlarges(files):
    small = files.cached(3)
    assert [tuple(small.image(i).shape[1:]) for i in (0, 4)] == [(3, 4), (3, 6)]
    assert files.cached(100).image(4).shape == files.image(4).shape


def test_cached_pictures_of_one_size_make_one_tensor(tmp_path, paint):
    for i in range(3):
        paint(tmp_path / f"{i}.png", seed=i)
    images = ImageSet("x", Files(tmp_path, ["0.png", "1.png", "2.png"]), torch.arange(3), "abc")
    batch = images.cached().subset([2, 0]).images(torch.tensor([1, 0]))
    assert isinstance(batch, torch.Tensor)
    assert torch.equal(batch, torch.stack([images.image(0), images.image(2)]))


def test_progress_counts_every_image(files):
    seen = []
    files.cached(progress=lambda done, total: seen.append((done, total)))
    assert seen == [(i, 5) for i in range(1, 6)]


def test_caching_a_broken_file_names_it(files, tmp_path):
    (tmp_path / "3.png").write_text("text")
    with pytest.raises(BrokenImageError, match=r"3\.png"):
        files.cached()


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (torch.tensor([0, 3]), r"must lie in 0\.\.2, got 0\.\.3"),
        (torch.tensor([-1, 0]), r"must lie in 0\.\.2, got -1\.\.0"),
        (torch.tensor([0]), "must have 2 rows, got 1"),
        (torch.tensor([0.0, 1.0]), "int64"),
        (torch.ones(2, 2, dtype=torch.bool), r"bool \(N, 3\)"),
    ],
)
def test_labels_that_do_not_fit_are_refused(labels, message):
    memory = Memory(torch.zeros(2, 3, 4, 4, dtype=torch.uint8), ["a", "b"], None)
    with pytest.raises(ValueError, match=message):
        ImageSet("x", memory, labels, ["a", "b", "c"])


def test_only_sets_with_parts_have_masks(files):
    with pytest.raises(ValueError, match="no part masks"):
        files.masks(0)
    with pytest.raises(ValueError, match="no part masks"):
        files.cached().masks(0)


@pytest.mark.parametrize("kind", [list, np.array, torch.tensor])
def test_a_mask_chooses_the_images_that_it_marks(files, kind):
    part = files.subset(kind([True, False, False, True, True]))
    assert part.labels.tolist() == [0, 1, 2]
    assert [part.identifier(i) for i in range(3)] == ["0.png", "3.png", "4.png"]
    assert len(files.subset(kind([False] * 5))) == len(files.subset([])) == 0
    assert files.subset(kind([4, 4])).labels.tolist() == [2, 2]


@pytest.mark.parametrize(
    ("indices", "error", "words"),
    [
        ([True, False], ValueError, "each of the 5 rows, got a mask of 2"),
        ([1, 0, 0, 1, 1], ValueError, "indices must be positions, or a mask of bool, got a mask"),
        (np.array([1.0, 0, 0, 1, 1]), TypeError, "indices must be integers, got torch.float64"),
        ([1.5, 2.5], TypeError, "indices must be integers, got torch.float64"),
        ([-1], ValueError, r"must lie in 0\.\.4, got -1\.\.-1"),
        ([[0, 1]], ValueError, r"indices must be \(n,\), got \(1, 2\)"),
    ],
)
def test_what_is_neither_positions_nor_a_mask_is_refused(files, indices, error, words):
    with pytest.raises(error, match=words):
        files.subset(indices)


def test_a_split_takes_masks_as_it_takes_positions(files):
    query = np.array([True, False, False, True, False])
    by_mask = split("five", files, ~query, query, description="by mask")
    by_rows = split("five", files, [1, 2, 4], [0, 3], description="by rows")
    for data in (by_mask, by_rows):
        assert data.train.rows.tolist() == [1, 2, 4] and data.query.rows.tolist() == [0, 3]
    database = np.array([True, False, False, True, True])
    searched = split("five", files, ~query, query, database, description="three")
    assert searched.database.rows.tolist() == [0, 3, 4]
    assert searched.train_rows.tolist() == [-1, -1, 2]
    with pytest.raises(ValueError, match="got a mask of 5 integers 0 and 1"):
        split("five", files, (~query).astype(int), query, description="zeros and ones")


def test_repeats_of_two_images_are_no_mask_of_the_source(files):
    assert files.subset([0, 1]).subset([0, 1, 0, 0, 1]).rows.tolist() == [0, 1, 0, 0, 1]
    marked = torch.tensor([True, False, True, False, False])
    part = ImageSet("two", files.source, torch.tensor([0, 0]), ["a"], marked)
    assert [part.identifier(i) for i in range(2)] == ["0.png", "2.png"]


def test_rows_of_the_training_images_are_no_mask(files):
    with pytest.raises(ValueError, match=r"train_rows must be int64 \(5,\), got torch.bool \(5,\)"):
        HashingData("x", files, files, files, "", torch.ones(5, dtype=torch.bool))
    with pytest.raises(ValueError, match=r"train_rows must lie in -1\.\.4, got 0\.\.5"):
        HashingData("x", files, files, files, "", torch.tensor([0, 1, 2, 3, 5]))


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="open files are not listed here")
def test_many_cached_images_go_to_another_process_without_a_file_for_each():
    images = [torch.full((3, 4, 4 + i % 3), i, dtype=torch.uint8) for i in range(200)]
    labels = torch.zeros(200, dtype=torch.int64)
    given = ImageSet("x", Memory(images, [str(i) for i in range(200)], None), labels, ["x"])
    before = len(os.listdir("/proc/self/fd"))
    sent = ForkingPickler.dumps(given)
    assert len(os.listdir("/proc/self/fd")) < before + 20
    del sent
    found = pickle.loads(pickle.dumps(given))
    assert all(torch.equal(found.image(i), image) for i, image in enumerate(images))
    assert found.source.pixels[0].add_(1).dtype is torch.uint8
