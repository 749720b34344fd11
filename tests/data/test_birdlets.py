"""Birdlets: determinism, one part between neighbours, masks, knobs and controls."""

import numpy as np
import pytest
import torch

from semicon_fast.data import load
from semicon_fast.data.birdlet_drawing import PARTS, Appearance, draw
from semicon_fast.data.birdlets import class_table

SMALL = {"classes": 4, "train_per_class": 3, "query_per_class": 2}


def picture(values, seed=0, **look):
    return draw(Appearance(**look), values, np.random.default_rng(seed))


def test_default_counts():
    data = load("birdlets")
    assert (len(data.train), len(data.query), len(data.train.classes)) == (960, 240, 16)
    assert data.database is data.train
    assert data.train.labels.bincount().tolist() == [60] * 16
    assert data.query.labels.bincount().tolist() == [15] * 16


def test_picture_i_depends_on_the_options_the_seed_and_i_alone():
    first, second = load("birdlets", **SMALL), load("birdlets", **SMALL)
    second.train.image(0)
    assert torch.equal(first.train.image(7), second.train.image(7))
    assert torch.equal(first.train.subset([7]).image(0), second.train.image(7))
    assert not torch.equal(first.train.image(0), first.train.image(1))


def test_another_seed_gives_other_pictures_of_the_same_class():
    one, two = (load("birdlets", seed=seed).train for seed in (0, 1))
    assert one.classes == two.classes and one.labels[5] == two.labels[5]
    assert not torch.equal(one.masks(5), two.masks(5))


def test_queries_and_training_images_are_different_pictures():
    data = load("birdlets", **SMALL)
    names = [{part.identifier(i) for i in range(len(part))} for part in (data.train, data.query)]
    assert names[0].isdisjoint(names[1]) and len(names[0]) == 12
    assert not torch.equal(data.train.image(0), data.query.image(0))


def test_pictures_have_the_asked_size():
    image = load("birdlets", **SMALL, size=48).train.image(0)
    assert image.shape == (3, 48, 48) and image.dtype == torch.uint8


@pytest.mark.parametrize("part", range(4))
def test_neighbouring_classes_differ_in_one_part_of_one_to_three_percent(part):
    other = tuple(int(number == part) for number in range(4))
    shares = []
    for seed in range(12):
        one, masks = picture((0, 0, 0, 0), seed)
        two, same = picture(other, seed)
        assert torch.equal(masks, same)
        changed = (one != two).any(0)
        around = torch.nn.functional.max_pool2d(masks[part][None].float(), 3, 1, 1)[0].bool()
        assert (changed & around).sum() >= 0.97 * changed.sum()
        shares.append(masks[part].float().mean().item())
    assert 0.008 < sum(shares) / len(shares) < 0.03


def test_masks_do_not_overlap_and_follow_the_flip_and_pose():
    centres = []
    for seed in range(20):
        _, masks = picture((0,) * 6, seed, parts=6)
        assert masks.shape == (6, 64, 64) and masks.dtype == torch.bool
        assert masks.sum(0).max() == 1
        assert all(masks[part].any() for part in range(6))
        beak, tail = (masks[PARTS.index(part)].nonzero()[:, 1] for part in ("beak", "tail"))
        centres.append((beak.float().mean() - tail.float().mean()).item())
    assert min(centres) < -20 and max(centres) > 20


def test_masks_are_reachable_through_sets_subsets_and_caches():
    data = load("birdlets", **SMALL)
    masks = data.train.masks(5)
    assert masks.shape == (4, 64, 64)
    assert torch.equal(data.train.subset([5]).masks(0), masks)
    assert torch.equal(data.cached().train.subset([5]).masks(0), masks)
    assert data.cached(32).train.masks(5).shape == (4, 32, 32)


def test_parts_have_the_colour_of_their_value():
    image, masks = picture((0, 0, 0, 0), nuisance=0.0, distractors=0)
    red = image[:, masks[0]].float().mean(1)
    assert red[0] > 180 and red[1:].max() < 90


def test_without_nuisance_every_picture_of_a_class_has_the_same_pose():
    masks = [picture((0, 0, 0, 0), seed, nuisance=0.0)[1] for seed in range(3)]
    assert torch.equal(masks[0], masks[1]) and torch.equal(masks[0], masks[2])


@pytest.mark.parametrize(("classes", "parts", "values"), [(16, 4, 2), (20, 4, 3), (9, 3, 6)])
def test_every_class_has_a_neighbour_that_differs_in_one_part(classes, parts, values):
    table = class_table(classes, parts, values, seed=0)
    assert len(set(map(tuple, table.tolist()))) == classes
    distance = (table[:, None] != table[None]).sum(2)
    distance.fill_diagonal_(parts + 1)
    assert (distance.min(1).values == 1).all()


def test_counts_may_be_drawn_from_a_range():
    data = load("birdlets", classes=16, train_per_class=(4, 60), query_per_class=1)
    counts = data.train.labels.bincount()
    assert counts.min() >= 4 and counts.max() <= 60 and len(counts.unique()) > 4


def test_label_noise_changes_that_share_of_the_training_labels_only():
    clean, noisy = load("birdlets"), load("birdlets", label_noise=0.3)
    share = (clean.train.labels != noisy.train.labels).float().mean()
    assert 0.25 < share < 0.35
    assert torch.equal(clean.query.labels, noisy.query.labels)
    assert torch.equal(clean.train.image(3), noisy.train.image(3))
    wrong = load("birdlets", label_noise=1.0)
    assert (clean.train.labels != wrong.train.labels).all()


def test_multi_label_gives_one_colour_of_each_part():
    data = load("birdlets", **SMALL, parts=3, values=4, multi_label=True)
    assert data.train.labels.shape == (12, 12) and data.train.labels.dtype == torch.bool
    assert (data.train.labels.view(12, 3, 4).sum(2) == 1).all()
    assert data.train.classes[:2] == ("head=red", "head=yellow")
    single = load("birdlets", **SMALL, parts=3, values=4)
    name = single.train.classes[int(single.train.labels[5])]
    shown = [data.train.classes[i] for i in data.train.labels[5].nonzero()[:, 0]]
    assert name == " ".join("-".join(reversed(part.split("="))) for part in shown)


def test_removed_parts_leave_classes_that_look_alike():
    for removed in (True, ["head", "beak"]):
        data = load("birdlets", classes=16, train_per_class=2, remove_parts=removed)
        visible = data.train.masks(0).flatten(1).any(1).tolist()
        assert visible == ([False] * 4 if removed is True else [False, True, True, False])
    images = [picture(values, 3, removed=PARTS)[0] for values in ((0, 0, 0, 0), (1, 1, 1, 1))]
    assert torch.equal(*images)


def test_shuffled_labels_keep_their_counts_and_lose_their_pictures():
    plain, shuffled = load("birdlets"), load("birdlets", shuffle_labels=True)
    assert torch.equal(shuffled.train.labels.bincount(), plain.train.labels.bincount())
    assert torch.equal(shuffled.query.labels.bincount(), plain.query.labels.bincount())
    assert (shuffled.train.labels == plain.train.labels).float().mean() < 0.15
    assert torch.equal(shuffled.train.image(3), plain.train.image(3))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"classes": 17, "values": 2}, r"classes must lie in 2\.\.16 with 4 parts of 2 colours"),
        ({"classes": 1}, "classes must lie in"),
        ({"parts": 7}, r"parts must lie in 1\.\.6, got 7"),
        ({"parts": 0}, r"parts must lie in 1\.\.6, got 0"),
        ({"values": 7}, r"values must lie in 2\.\.6, got 7"),
        ({"label_noise": 1.5}, r"label_noise must lie in 0\.\.1"),
        ({"train_per_class": 1}, "train_per_class must be at least 2"),
        ({"query_per_class": (3, 2)}, "query_per_class must be at least 1"),
        ({"train_per_class": (3, 4, 5)}, "train_per_class must be"),
        ({"size": 8}, "size must be at least 16"),
        ({"nuisance": -1.0}, "nuisance and distractors must be 0 or more"),
        ({"remove_parts": ["wings"]}, "remove_parts must be among .* got .'wings'"),
        ({"root": "somewhere"}, "root must be None"),
    ],
)
def test_options_out_of_range_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        load("birdlets", **options)
