"""Which training images are held out, and which of the others an outer iteration sees."""

from typing import NamedTuple

import torch
from torch import Tensor

from ..data.seeds import generator


class Holdout(NamedTuple):
    """Positions of training images, ascending: int64. Together they are all of them."""

    kept: Tensor
    held: Tensor


def hold_out(labels: Tensor, fraction: float, seed: int) -> Holdout:
    """A stratified split: of each class round(fraction * images), at least one of two or more.

    labels int64 (N,), or bool (N, C): then round(fraction * N) images whatever their labels.
    Raises ValueError when no image, or every image, would be held out.
    """
    draws = generator("holdout", seed)
    order = torch.randperm(len(labels), generator=draws)
    if labels.ndim == 2:
        held = order[: round(fraction * len(labels))]
    else:
        held = torch.cat([_share(order, labels, label, fraction) for label in labels.unique()])
    chosen = torch.zeros(len(labels), dtype=torch.bool)
    chosen[held] = True
    split = Holdout((~chosen).nonzero()[:, 0], chosen.nonzero()[:, 0])
    if len(split.held) == 0 or len(split.kept) == 0:
        raise ValueError(
            f"selection.fraction={fraction:g} holds out {len(split.held)} of {len(labels)} "
            "training images; take another fraction, or selection.mode=last"
        )
    return split


def _share(order: Tensor, labels: Tensor, label: Tensor, fraction: float) -> Tensor:
    members = order[labels[order] == label]
    if len(members) < 2:
        return members[:0]
    return members[: min(len(members) - 1, max(1, round(fraction * len(members))))]


def sample(kept: Tensor, samples: int | None, seed: int, iteration: int) -> Tensor:
    """Rows of one outer iteration: `samples` of `kept` without replacement, all if None or more.

    Depends on (seed, iteration) alone, so a restart draws the same.
    """
    if samples is None or samples >= len(kept):
        return kept
    order = torch.randperm(len(kept), generator=generator("sample", seed, iteration))
    return kept[order[:samples]]
