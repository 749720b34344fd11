"""Iterative quantisation: principal components, rotated towards the corners of a cube."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..arrays import check_integer
from ._base import blocks, generator
from ._linear import LinearHasher, check_width, mean_of, sorted_eigh

# Rows whose signs are taken at a time; bounds temporary memory.
_ROWS = 1 << 16


class ITQ(LinearHasher):
    """Iterative quantisation (Gong & Lazebnik, CVPR 2011): the first principal components, one a
    bit, and the rotation that brings them close to their signs.

    Args:
        bits: length of a code, at most the width of the features.
        iterations: updates of the rotation, 50 in the paper; 0 keeps the start.
        normalise: divide each centred row by its norm before the components are found, and in
            `encode`, as faiss's ITQTransform does.
        start: the first rotation, (bits, bits), acting on rows of components, an array or a tensor;
            None draws one. With `iterations=0` this is the rotation of the codes, so that one that
            was found elsewhere can be used.
        seed: of the first rotation.

    faiss updates the rotation with the right singular vectors transposed (version 1.15), which does
    not minimise the error of quantisation. So its codes are these only for its own final rotation
    as `start`, with `iterations=0` and `normalise=True`.
    """

    name = "itq"

    def __init__(
        self,
        bits: int,
        *,
        iterations: int = 50,
        normalise: bool = False,
        start: Any = None,
        seed: int = 0,
    ) -> None:
        self.bits = bits
        self.iterations = iterations
        self.normalise = normalise
        self.start = start
        self.seed = seed

    def check_parameters(self) -> None:
        super().check_parameters()
        check_integer(self.iterations, "iterations", 0)
        if not isinstance(self.normalise, bool):
            raise TypeError(f"normalise must be True or False, got {self.normalise!r}")
        if self.start is not None:
            _checked_rotation(self.start, self.bits)

    def _learn(self, features: Tensor, labels: Tensor | None) -> Mapping[str, Tensor]:
        check_width(self.name, self.bits, features.shape[1])
        mean = mean_of(features)
        moments = torch.zeros(2 * features.shape[1:], dtype=torch.float64, device=features.device)
        for block in blocks(features):
            rows = self._centred(block, mean)
            moments += rows.T @ rows
        components = sorted_eigh(moments)[1][:, : self.bits]
        values = torch.cat([self._centred(b, mean) @ components for b in blocks(features)])
        if self.start is None:
            start = random_rotation(self.bits, self.seed)
        else:
            start = _checked_rotation(self.start, self.bits)
        rotation = learn_rotation(values, start.to(values), self.iterations)
        return {"mean": mean, "projection": components @ rotation}

    def _centred(self, features: Tensor, mean: Tensor) -> Tensor:
        rows = features - mean
        return torch.nn.functional.normalize(rows, eps=1e-300) if self.normalise else rows

    def _project(self, features: Tensor, state: Mapping[str, Tensor]) -> Tensor:
        return self._centred(features, state["mean"]) @ state["projection"]


def learn_rotation(values: Tensor, start: Tensor, iterations: int) -> Tensor:
    """The rotation R (k, k) that brings values V (N, k) close to their signs.

    Each iteration takes the signs B of V R, and then the R that minimises |B - V R|^2 over all
    orthogonal matrices: R = W U' for B'V = U S W' (Gong & Lazebnik, section 2.2). Neither step
    raises the error.
    """
    rotation = start
    for _ in range(iterations):
        product = torch.zeros_like(rotation)
        for rows in values.split(_ROWS):
            product += rows.T @ torch.where(rows @ rotation >= 0, 1.0, -1.0).to(rows)
        left, _, right = torch.linalg.svd(product)
        rotation = left @ right
    return rotation


def random_rotation(size: int, seed: int) -> Tensor:
    """An orthogonal matrix, float64 (size, size), uniform over all of them."""
    drawn = torch.randn((size, size), generator=generator(seed), dtype=torch.float64)
    orthogonal, upper = torch.linalg.qr(drawn)
    return orthogonal * upper.diagonal().sign()


def _checked_rotation(start: Any, bits: int) -> Tensor:
    try:
        given = start.detach().cpu().double().numpy() if isinstance(start, Tensor) else start
        rotation = torch.from_numpy(np.array(given, dtype=np.float64))
    except (TypeError, ValueError):
        raise TypeError(f"start must be a matrix of numbers, got {type(start).__name__}") from None
    if rotation.shape != (bits, bits):
        raise ValueError(
            f"start must be ({bits}, {bits}) for {bits} bits, got {tuple(rotation.shape)}"
        )
    off = rotation.T @ rotation - torch.eye(bits, dtype=torch.float64)
    # Rotations in float32 are orthogonal to 1e-6 and better.
    if not bool(off.abs().max() < 1e-4):
        raise ValueError("start must be a rotation: its columns are not orthonormal")
    return rotation
