"""Held-out images and the sample of an iteration."""

import pytest
import torch

from semicon_fast.training.sampler import hold_out, sample


def test_a_holdout_takes_the_fraction_of_every_class():
    labels = torch.arange(20).repeat_interleave(30)[torch.randperm(600)]
    split = hold_out(labels, 0.1, 68)
    assert torch.bincount(labels[split.held]).tolist() == [3] * 20
    assert sorted(split.kept.tolist() + split.held.tolist()) == list(range(600))


def test_small_classes_give_one_image_and_a_single_image_stays():
    labels = torch.tensor([0, 0, 1, 2, 2, 2])
    split = hold_out(labels, 0.1, 0)
    assert sorted(labels[split.held].tolist()) == [0, 2]
    assert len(hold_out(labels, 0.99, 0).kept) == 3


def test_several_labels_are_split_whatever_they_are():
    labels = torch.rand(50, 4) < 0.5
    split = hold_out(labels, 0.2, 1)
    assert len(split.held) == 10 and len(split.kept) == 40


def test_nothing_to_hold_out_is_refused():
    with pytest.raises(ValueError, match="selection.fraction=0.1 holds out 0 of 3"):
        hold_out(torch.arange(3), 0.1, 0)


def test_a_sample_depends_on_seed_and_iteration_alone():
    kept = torch.arange(100) * 2
    first = sample(kept, 30, 68, 4)
    torch.manual_seed(99)
    assert torch.equal(first, sample(kept, 30, 68, 4))
    assert not torch.equal(first, sample(kept, 30, 68, 5))
    assert not torch.equal(first, sample(kept, 30, 69, 4))
    assert len(first.unique()) == 30 and set(first.tolist()) <= set(kept.tolist())


@pytest.mark.parametrize("samples", [None, 100, 1000])
def test_all_images_are_taken_where_there_are_no_more(samples):
    assert torch.equal(sample(torch.arange(100), samples, 0, 0), torch.arange(100))


def test_samples_are_uniform():
    counts = torch.zeros(20)
    for iteration in range(400):
        counts[sample(torch.arange(20), 5, 7, iteration)] += 1
    assert float((counts - 100).abs().max()) < 45  # five standard deviations
