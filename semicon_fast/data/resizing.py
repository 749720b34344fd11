"""torchvision's resizing, imported when the first image is resized or a transform is made.

`import torchvision` takes as long as `import torch` itself, and commands that never touch an image
import this package too.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor


def require() -> Any:
    """Imports torchvision now. Processes that are forked afterwards need not import it again."""
    from torchvision.transforms.v2 import functional

    return functional


def resize(images: Tensor, size: Sequence[int]) -> Tensor:
    """(..., H, W) to `size`: [height, width], or [shorter side]. Bilinear with antialiasing."""
    result: Tensor = require().resize(images, list(size), antialias=True)
    return result


def center_crop(images: Tensor, size: Sequence[int]) -> Tensor:
    """The [height, width] in the middle of (..., H, W)."""
    result: Tensor = require().center_crop(images, list(size))
    return result


def resize_mask(masks: Tensor, size: Sequence[int]) -> Tensor:
    """(..., H, W) to [height, width], each cell the nearest."""
    result: Tensor = require().resize_mask(masks, list(size))
    return result
