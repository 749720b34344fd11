"""Resizing by torchvision, imported only when a transform is made or the first image is resized.

`import torchvision` takes as long as `import torch` itself, and this package is also imported by
commands that process no images.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor


def require() -> Any:
    """Import torchvision now, so that processes forked later do not have to."""
    from torchvision.transforms.v2 import functional

    return functional


def resize(images: Tensor, size: Sequence[int]) -> Tensor:
    """Resize (..., H, W) to `size`: [height, width] or [shorter side]; bilinear, antialiased."""
    result: Tensor = require().resize(images, list(size), antialias=True)
    return result


def center_crop(images: Tensor, size: Sequence[int]) -> Tensor:
    """Crop the central [height, width] of (..., H, W)."""
    result: Tensor = require().center_crop(images, list(size))
    return result


def resize_mask(masks: Tensor, size: Sequence[int]) -> Tensor:
    """Resize masks (..., H, W) to [height, width] by nearest neighbour."""
    result: Tensor = require().resize_mask(masks, list(size))
    return result
