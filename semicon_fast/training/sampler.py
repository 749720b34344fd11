"""Sampling of training images: the hold-out split, and the images of each outer iteration."""

from typing import NamedTuple

import torch
from torch import Tensor

from ..data.seeds import generator


class Holdout(NamedTuple):
    """A partition of the training images: ascending positions, int64."""

    kept: Tensor
    held: Tensor


def hold_out(labels: Tensor, fraction: float, seed: int) -> Holdout:
    """A random hold-out split, stratified by class.

    Of each class with at least two images, round(fraction * images) are held out, but at least one
    and not all.

    Args:
        labels: int64 (N,), or bool (N, C) for multi-label images, of which round(fraction * N) are
            held out without stratification.
        fraction: fraction of the images.
        seed: seed of the split.

    Raises:
        ValueError: no image, or every image, would be held out.
    """
    draws = generator("holdout", seed)
    order = torch.randperm(len(labels), generator=draws)
    if labels.ndim == 2:
        held = order[: round(fraction * len(labels))]
    else:
        held = torch.cat(
            [_held_out_of_class(order, labels, label, fraction) for label in labels.unique()]
        )
    chosen = torch.zeros(len(labels), dtype=torch.bool)
    chosen[held] = True
    split = Holdout((~chosen).nonzero()[:, 0], chosen.nonzero()[:, 0])
    if len(split.held) == 0 or len(split.kept) == 0:
        raise ValueError(
            f"selection.fraction={fraction:g} holds out {len(split.held)} of {len(labels)} "
            "training images; use another fraction, or selection.mode=last"
        )
    return split


def _held_out_of_class(order: Tensor, labels: Tensor, label: Tensor, fraction: float) -> Tensor:
    members = order[labels[order] == label]
    if len(members) < 2:
        return members[:0]
    return members[: min(len(members) - 1, max(1, round(fraction * len(members))))]


def sample(kept: Tensor, samples: int | None, seed: int, iteration: int) -> Tensor:
    """The images of one outer iteration: `samples` of `kept`, drawn without replacement; all of
    `kept` if samples is None or too large.

    Depends only on (seed, iteration), so that a resumed run draws the same images.
    """
    if samples is None or samples >= len(kept):
        return kept
    order = torch.randperm(len(kept), generator=generator("sample", seed, iteration))
    return kept[order[:samples]]
