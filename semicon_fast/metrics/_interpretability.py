"""Metrics of attention maps and bits for images whose parts are annotated."""

import math
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..arrays import as_tensor

# Thresholds for the intersection over union, as fractions of a map's maximum.
_THRESHOLDS = torch.arange(1, 20) / 20


def map_overlap(maps: Any, masks: Any) -> dict[str, Tensor]:
    """How much of each attention map lies on each part, averaged over the images.

    Args:
        maps: floating (B, m, h, w), not negative; resized bilinearly to the size of the masks.
        masks: bool (B, P, H, W), the visible pixels of each part.

    Returns a dict of float64 (m, P):
        "share": the fraction of a map's sum that lies on the part.
        "area": the fraction of the image that the part covers: the share of a constant map.
        "iou": the mean intersection over union of the part and the thresholded map. The threshold
            is a fraction of the map's maximum, the best of 0.05, 0.10, ..., 0.95 for all images.
    Images in which a part is not visible, or whose map is 0, are excluded; NaN if none remains.
    Raises ValueError or TypeError.
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
    """Similarity of the attention maps of the same image, averaged over the images.

    maps: floating (B, m, h, w), not negative. Returns a dict of float64 (m, m): "cosine", the
    cosine similarity of two maps as vectors, and "iou", the intersection over union of their cells
    above half of each map's maximum. 1: identical, 0: disjoint. Pairs with a map that is 0 are
    excluded; NaN if none remains.
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
    """Mutual information, in bits, between k bits of a code (taken jointly) and a value.

    The plug-in estimate minus its mean over `shuffles` random permutations of the values, which
    estimates the bias of a finite sample; so the result can be slightly negative. Only meaningful
    for few bits or codes that repeat often: if every code is unique, both terms equal the entropy
    of the values.

    Args:
        bits: (N, k), 0 and 1, bool, or -1 and +1; N >= 1.
        values: integers (N,), such as the colour of a part.
        shuffles: number of permutations; 0 for the plain plug-in estimate.
        seed: seed of the permutations.

    Raises TypeError or ValueError.
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
    """Plug-in estimate of the mutual information of two columns of symbols 0, 1, ..., in bits."""
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
    """Mean over the images with used = 1: (B, ...) -> (...)."""
    return (values * used).sum(0) / used.sum(0)
