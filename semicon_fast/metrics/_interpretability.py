"""What attention maps and bits mean, where the parts of an image are known."""

import math
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..arrays import as_tensor

# Shares of a map's largest value at which it is cut for an intersection over union.
_THRESHOLDS = torch.arange(1, 20) / 20


def map_overlap(maps: Any, masks: Any) -> dict[str, Tensor]:
    """How much of each attention map lies on each part, averaged over the images.

    Args:
        maps: (B, m, h, w) floating, not negative; brought to the size of the masks bilinearly.
        masks: bool (B, P, H, W), the visible pixels of each part.

    Returns float64 (m, P) each: "share" of a map's mass that lies on the part; "area", the part's
    share of the image, which is what a flat map would have; "iou", the mean intersection over union
    of the part and the map cut at a share of its largest value, the best of 0.05 to 0.95, one for
    all images. Images without any visible pixel of a part, or whose map is 0, are left out for it;
    NaN where none is left. Raises ValueError or TypeError.
    """
    values, parts = _maps(maps), as_tensor(masks, "masks")
    if parts.dtype is not torch.bool or parts.ndim != 4 or len(parts) != len(values):
        raise ValueError(
            f"masks must be bool ({len(values)}, P, H, W), got {parts.dtype} {tuple(parts.shape)}"
        )
    size = tuple(parts.shape[-2:])
    values = F.interpolate(values, size, mode="bilinear", align_corners=False).flatten(2)
    inside = parts.flatten(2).double()
    largest = values.amax(2, keepdim=True)
    used = ((largest > 0) & (inside.sum(2) > 0).unsqueeze(1)).double()
    share = values @ inside.transpose(1, 2) / values.sum(2, keepdim=True).clamp(min=1e-300)
    area = inside.mean(2).unsqueeze(1).expand_as(share)
    best = torch.full(share.shape[1:], -torch.inf, dtype=torch.float64)
    for threshold in _THRESHOLDS.tolist():
        cut = (values >= threshold * largest).double()
        both = cut @ inside.transpose(1, 2)
        either = cut.sum(2, keepdim=True) + inside.sum(2).unsqueeze(1) - both
        best = torch.maximum(best, _mean(both / either.clamp(min=1), used))
    return {"share": _mean(share, used), "area": _mean(area, used), "iou": best}


def map_likeness(maps: Any) -> dict[str, Tensor]:
    """How alike the maps of one image are, averaged over the images: float64 (m, m) each.

    maps: (B, m, h, w) floating, not negative. "cosine" between two maps as vectors, "iou" of their
    cells above half of their own largest value. 1: the same, 0: nothing in common. Pairs with a
    map of 0 are left out; NaN where none is left.
    """
    values = _maps(maps).flatten(2)
    norms = values.norm(dim=2, keepdim=True)
    used = (norms > 0).double()
    used = used @ used.transpose(1, 2)
    unit = values / norms.clamp(min=1e-300)
    cut = (values > values.amax(2, keepdim=True) / 2).double()
    both = cut @ cut.transpose(1, 2)
    either = cut.sum(2, keepdim=True) + cut.sum(2).unsqueeze(1) - both
    return {
        "cosine": _mean(unit @ unit.transpose(1, 2), used),
        "iou": _mean(both / either.clamp(min=1), used),
    }


def bit_information(bits: Any, values: Any, *, shuffles: int = 100, seed: int = 0) -> float:
    """Mutual information, in bits, of some bits of a code, taken together, with a value.

    The plug-in estimate less its mean over `shuffles` permutations of the values, which is what
    chance alone makes of so few images; so it can be a little below 0. Only for few bits, or codes
    that repeat often: where each code is unique both terms are the entropy of the values.

    Args:
        bits: (N, k), 0 and 1, bool, or -1 and +1.
        values: integers (N,), such as the colour of a part.
    """
    codes = as_tensor(bits, "bits").cpu().numpy()
    labels = as_tensor(values, "values").cpu().numpy()
    if codes.ndim != 2 or labels.shape != (len(codes),) or not len(codes):
        raise ValueError(
            "bits must be (N, k) and values (N,) with N >= 1, got "
            f"{tuple(codes.shape)} and {tuple(labels.shape)}"
        )
    if labels.dtype.kind not in "iub":
        raise TypeError(f"values must be integers, got {labels.dtype}")
    symbols = np.unique(codes > 0, axis=0, return_inverse=True)[1].ravel()
    classes = np.unique(labels, return_inverse=True)[1].ravel()
    draws = np.random.default_rng(seed)
    chance = [_information(symbols, draws.permutation(classes)) for _ in range(shuffles)]
    return _information(symbols, classes) - (math.fsum(chance) / shuffles if shuffles else 0.0)


def _information(a: np.ndarray, b: np.ndarray) -> float:
    """Plug-in mutual information of two columns of numbers from 0, in bits."""
    joint = np.zeros((a.max() + 1, b.max() + 1))
    np.add.at(joint, (a, b), 1 / len(a))
    independent = joint.sum(1, keepdims=True) * joint.sum(0, keepdims=True)
    there = joint > 0
    return float((joint[there] * np.log2(joint[there] / independent[there])).sum())


def _maps(maps: Any) -> Tensor:
    values = as_tensor(maps, "maps")
    if values.ndim != 4 or not values.is_floating_point():
        raise ValueError(
            f"maps must be floating (B, m, h, w), got {values.dtype} {tuple(values.shape)}"
        )
    if values.numel() and not bool((values >= 0).all()):
        raise ValueError("maps must not be negative or NaN")
    return values.double().cpu()


def _mean(values: Tensor, used: Tensor) -> Tensor:
    """Mean over the images of what is used: (B, ...) -> (...)."""
    return (values * used).sum(0) / used.sum(0)
