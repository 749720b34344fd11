"""Similarities between classes, as targets of the inner products of their centers."""

import os
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from ..arrays import check_choice
from ._codebook import check_size
from .kinds import SIMILARITIES


def class_similarity(features: Tensor, bits: int, kind: str = "product") -> Tensor:
    """SHC's Eq. 2: the inner products of each class with the others, stretched to [-k, k].

    s_ij = -k + 2 k (w_i w_j - min) / (max - min), with the least and the largest product of class
    i with another class, so that the matrix is not symmetric. Where these are equal, as for two
    classes, all are -k.

    Args:
        features: one vector for each class, (C, F), C >= 2.
        bits: bits k.
        kind: "product", as published, or "cosine", which does not depend on the vectors' lengths.

    Returns:
        float64 (C, C), k on the diagonal.
    """
    check_choice(kind, SIMILARITIES, "kind")
    if features.ndim != 2 or len(features) < 2:
        raise ValueError(f"features must be (C, F) with C >= 2, got {tuple(features.shape)}")
    check_size(len(features), bits)
    if not bool(torch.isfinite(features).all()):
        raise ValueError("features must be finite")
    vectors = features.detach().cpu().double()
    if kind == "cosine":
        vectors = torch.nn.functional.normalize(vectors)
    products = vectors @ vectors.T
    same = torch.eye(len(vectors), dtype=torch.bool)
    least = products.masked_fill(same, torch.inf).min(1, keepdim=True).values
    spread = products.masked_fill(same, -torch.inf).max(1, keepdim=True).values - least
    stretched = -bits + 2 * bits * (products - least) / spread
    # Rounding errors of equal products are no differences.
    flat = spread <= 1e-12 * products.diagonal()[:, None].clamp(min=1e-300)
    stretched = torch.where(flat, torch.full_like(stretched, -bits), stretched)
    return stretched.masked_fill(same, bits)


def check_similarity(similarity: Tensor, classes: int) -> Tensor:
    """`similarity` as float64 on the CPU. Raises ValueError unless it is (C, C) and finite."""
    if tuple(similarity.shape) != (classes, classes):
        raise ValueError(
            f"similarity must be ({classes}, {classes}) for {classes} classes, "
            f"got {tuple(similarity.shape)}"
        )
    values = similarity.detach().cpu().double()
    if not bool(torch.isfinite(values).all()):
        raise ValueError("similarity must be finite, it has NaN or infinity")
    return values


def load_similarity(
    path: str | os.PathLike[str], classes: int, bits: int, kind: str = "product"
) -> Tensor:
    """The similarities in a file, float64 (C, C), as targets in [-k, k].

    Args:
        path: .npy file of a (C, C) matrix, or .safetensors with a tensor `similarity` (C, C), or
            `features` (C, F) of which `class_similarity` is taken.
        classes: number of classes C.
        bits: bits k.
        kind: of `class_similarity`, for features.

    Raises:
        FileNotFoundError: no such file.
        ValueError: another format, another shape, or NaN.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"similarity file {path} does not exist")
    try:
        if path.suffix == ".npy":
            content = {"similarity": torch.from_numpy(np.load(path, allow_pickle=False))}
        else:
            content = load_file(path)
    except (SafetensorError, ValueError, TypeError, EOFError) as error:
        raise ValueError(f"{path} is no .npy or .safetensors file: {error}") from error
    try:
        if "similarity" in content:
            return check_similarity(content["similarity"], classes)
        if "features" not in content:
            raise ValueError("it holds neither `similarity` nor `features`")
        features = content["features"]
        if len(features) != classes:
            raise ValueError(f"features must be ({classes}, F), got {tuple(features.shape)}")
        return class_similarity(features, bits, kind)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
