"""HOG-512: hand-made features of small images, by scikit-image."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .image_set import ImageSet, Progress, map_in_threads

NAME = "HOG-512 (stands in for GIST)"
SIDE, CELL, ORIENTATIONS = 32, 4, 8
SIZE = (SIDE // CELL) ** 2 * ORIENTATIONS


def hog_features(images: ImageSet, *, threads: int = 2, progress: Progress | None = None) -> Tensor:
    """Histograms of oriented gradients of images of 32 x 32 pixels: float32 (N, 512), of norm 1.

    8 orientations in 8 x 8 cells of 4 x 4 pixels; of the three channels each pixel has the gradient
    of the one where that is largest. Those of an image of one colour are 0. They stand in for the
    512-dimensional GIST features of CIFAR-10 in DSH's tables, which no maintained package computes,
    and are to be named by `NAME`: figures on them are not those on GIST.

    Args:
        images: the images, of any labels.
        threads: threads that compute.
        progress: called as progress(done, total).

    Raises:
        ValueError: images of another size, or scikit-image is not installed.
    """
    hog = _hog()

    def features(row: int) -> Tensor:
        found = hog(
            _pixels(images, row),
            orientations=ORIENTATIONS,
            pixels_per_cell=(CELL, CELL),
            cells_per_block=(1, 1),
            channel_axis=-1,
        )
        norm = np.linalg.norm(found)
        return torch.from_numpy((found / norm if norm else found).astype(np.float32))

    found = map_in_threads(features, len(images), threads, progress)
    return torch.stack(found) if found else torch.zeros(0, SIZE)


def _pixels(images: ImageSet, row: int) -> np.ndarray[Any, Any]:
    """An image as uint8 (32, 32, 3). Raises ValueError for another size."""
    image = images.image(row)
    if image.shape[1:] != (SIDE, SIDE):
        raise ValueError(
            f"HOG-512 is of images of {SIDE} x {SIDE} pixels, got {tuple(image.shape[1:])} of "
            f"{images.identifier(row)}"
        )
    return image.permute(1, 2, 0).numpy()


def _hog() -> Callable[..., Any]:
    try:
        from skimage.feature import hog
    except ImportError:
        raise ValueError(
            "HOG-512 needs scikit-image, which is not installed: pip install 'semicon_fast[hog]'"
        ) from None
    function: Callable[..., Any] = hog
    return function
