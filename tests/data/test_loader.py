"""Batches that can be made again, alone, and by any number of workers."""

import pytest
import torch

from semicon_fast.data import (
    BrokenImageError,
    batch_count,
    build,
    evaluation_batches,
    load,
    training_batches,
)


@pytest.fixture(scope="module")
def images():
    return load("birdlets", classes=4, train_per_class=6, query_per_class=1, size=16).train.cached()


def epoch(images, rows=None, **options):
    options = {"batch_size": 5, "seed": 0, "epoch": 0} | options
    rows = torch.arange(len(images)) if rows is None else rows
    return list(training_batches(images, build("small", 16, True), rows, **options))


def same(one, two):
    return len(one) == len(two) and all(
        torch.equal(a, b)
        for left, right in zip(one, two, strict=True)
        for a, b in zip(left, right, strict=True)
    )


def test_an_epoch_visits_every_row_once_in_a_drawn_order(images):
    rows = torch.tensor([3, 4, 5, 20, 21, 22, 23])
    batches = epoch(images, rows)
    visited = torch.cat([batch.rows for batch in batches])
    assert sorted(visited.tolist()) == rows.tolist() and visited.tolist() != rows.tolist()
    assert [len(batch.rows) for batch in batches] == [5, 2]
    assert all(torch.equal(batch.labels, images.labels[batch.rows]) for batch in batches)
    assert batches[0].images.shape == (5, 3, 16, 16)


def test_the_pictures_of_a_batch_are_those_of_its_rows(images):
    for batch in training_batches(
        images, build("plain", 16, True), torch.arange(24), batch_size=5, seed=0, epoch=0
    ):
        plain = build("plain", 16, False)([images.image(i) for i in batch.rows.tolist()])
        kept = (batch.images == plain).flatten(1).all(1)
        assert (kept | (batch.images == plain.flip(3)).flatten(1).all(1)).all()


def test_equal_seeds_and_epochs_give_equal_batches_and_others_do_not(images):
    assert same(epoch(images), epoch(images))
    for other in ({"seed": 1}, {"epoch": 1}):
        changed = epoch(images, **other)
        assert not torch.equal(changed[0].rows, epoch(images)[0].rows)
    # the augmentation is another one in the next epoch, order aside
    row = torch.tensor([7])
    pictures = [epoch(images, row, epoch=number)[0].images for number in range(8)]
    assert any(not torch.equal(pictures[0], picture) for picture in pictures[1:])


def test_every_batch_of_an_epoch_has_its_own_augmentation(images):
    first, second = epoch(images, torch.full((10,), 7))
    assert not torch.equal(first.images, second.images)


def test_any_batch_can_be_made_without_those_before_it(images):
    whole = epoch(images)
    for start in range(len(whole) + 1):
        assert same(epoch(images, start=start), whole[start:])


@pytest.mark.parametrize("workers", [1, 2])
def test_workers_change_nothing(images, workers):
    assert same(epoch(images, workers=workers, start=1), epoch(images, start=1))


@pytest.mark.parametrize("processes", [2, 3, 4])
@pytest.mark.parametrize("recipe", ["imagenet", "mild", "crop", "small", "strong", "plain"])
def test_the_parts_of_all_processes_are_the_batches_of_one(images, recipe, processes):
    """22 images in batches of 5: the last one, of two, has fewer images than four processes."""
    options = {"batch_size": 5, "seed": 3, "epoch": 1}
    rows, transform = torch.arange(22), build(recipe, 12, True)
    whole = list(training_batches(images, transform, rows, **options))
    parts = [
        list(training_batches(images, transform, rows, **options, part=(r, processes)))
        for r in range(processes)
    ]
    for number, batch in enumerate(whole):
        mine = [part[number] for part in parts]
        joined = [torch.cat([part[field] for part in mine]) for field in range(3)]
        assert same([joined], [batch[:3]])
        assert all(torch.equal(part.whole, batch.rows) for part in mine)
    counts = [len(part[-1].rows) for part in parts]
    assert counts == {2: [1, 1], 3: [2, 0, 0], 4: [2, 0, 0, 0]}[processes]
    assert parts[-1][-1].images.shape[1:] == (3, 12, 12)


def test_batches_named_by_number_are_those_of_the_whole_pass(images):
    transform = build("small", 16, False)
    whole = list(evaluation_batches(images, transform, 7))
    assert same(list(evaluation_batches(images, transform, 7, numbers=range(1, 3))), whole[1:3])


def test_the_global_random_state_is_neither_read_nor_written(images):
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = epoch(images, workers=1)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    assert same(epoch(images), first)


def test_drop_last_leaves_out_the_short_batch(images):
    assert [len(batch.rows) for batch in epoch(images, drop_last=True)] == [5] * 4
    assert same(epoch(images, drop_last=True), epoch(images)[:4])
    assert (batch_count(24, 5), batch_count(24, 5, drop_last=True), batch_count(0, 5)) == (5, 4, 0)


@pytest.mark.parametrize("workers", [0, 2])
def test_evaluation_goes_through_every_image_in_order(images, workers):
    transform = build("small", 16, False)
    batches = list(evaluation_batches(images, transform, 7, workers=workers))
    assert torch.cat([batch.rows for batch in batches]).tolist() == list(range(24))
    wanted = transform([images.image(i) for i in range(24)])
    assert torch.equal(torch.cat([batch.images for batch in batches]), wanted)


@pytest.mark.parametrize("workers", [0, 1])
def test_images_of_many_sizes_make_equal_batches_from_files(tmp_path, paint, workers):
    for i in range(6):
        paint(tmp_path / ("ab"[i % 2]) / f"{i}.png", width=10 + i, height=20 - i, seed=i)
    images = load("folder", tmp_path, query_fraction=0.1).train
    options = {"batch_size": 3, "seed": 4, "epoch": 2}
    transform, rows = build("imagenet", 12, True), torch.arange(len(images))
    batches = [
        list(training_batches(kind, transform, rows, **options, workers=workers))
        for kind in (images, images.cached())
    ]
    assert same(*batches)


@pytest.mark.parametrize("workers", [0, 1])
def test_a_broken_file_is_named_whoever_decodes_it(folder, workers):
    (folder / "train" / "ant" / "1.png").write_text("text")
    images = load("folder", folder).train
    with pytest.raises(BrokenImageError, match=r"^1 image does.*1\.png \(the file is") as caught:
        list(evaluation_batches(images, build("plain", 8, False), 2, workers=workers))
    assert caught.value.broken[0].path.endswith("1.png")


def test_several_labels_an_image_come_as_bool_rows():
    images = load("birdlets", classes=4, train_per_class=2, size=16, multi_label=True).train
    batch = epoch(images)[0]
    assert batch.labels.dtype == torch.bool and batch.labels.shape == (5, 8)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 0}, "batch_size must be at least 1, got 0"),
        ({"workers": -1}, "workers must be 0 or more, got -1"),
        ({"start": 6}, r"start must lie in 0\.\.5, the number of batches, got 6"),
        ({"part": (2, 2)}, r"part must be \(process, processes\), process from 0, got \(2, 2\)"),
        ({"rows": torch.tensor([1, 0] * 12)}, "rows must be positions, or a mask of bool"),
        ({"rows": torch.tensor([24])}, r"rows must lie in 0\.\.23, got 24\.\.24"),
        ({"rows": torch.zeros(2, 2, dtype=torch.int64)}, r"must be \(n,\), got \(2, 2\)"),
    ],
)
def test_bad_arguments_are_refused_before_the_first_batch(images, options, message):
    with pytest.raises(ValueError, match=message):
        epoch(images, **options)


def test_evaluation_with_a_training_transform_is_refused(images):
    with pytest.raises(ValueError, match=r"train=False"):
        evaluation_batches(images, build("small", 16, True), 4)


@pytest.mark.parametrize("workers", [0, 2])
def test_epochs_go_on_one_after_the_other_as_they_are_alone(images, workers):
    rows, transform = torch.arange(len(images)), build("small", 16, True)
    options = {"batch_size": 5, "seed": 3, "workers": workers}
    alone = [
        batch
        for epoch in (4, 5, 6)
        for batch in training_batches(
            images, transform, rows, epoch=epoch, start=2 * (epoch == 4), **options
        )
    ]
    together = training_batches(
        images, transform, rows, epoch=4, start=2, epochs=3, raw=True, **options
    )
    for one, other in zip(alone, together, strict=True):
        assert other.images.dtype is torch.uint8 and torch.equal(one.rows, other.rows)
        assert torch.equal(one.images, transform.normalised(other.images))
