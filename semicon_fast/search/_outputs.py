"""Checks of the real-valued outputs that an asymmetric search takes in place of codes."""

from typing import Any

import torch
from torch import Tensor

from ..arrays import as_features, check_finite


def check_outputs(outputs: Any, bits: int) -> Tensor:
    """Outputs as float32 (Q, bits).

    Raises TypeError unless they are floating point, ValueError for another width, and unless they
    and the sum of their magnitudes are finite in float32.
    """
    given = as_features(outputs, "outputs")
    if given.shape[1] != bits:
        raise ValueError(f"outputs must be (Q, {bits}), one for each bit, got {tuple(given.shape)}")
    rounded = check_finite(given, "outputs").to(torch.float32)
    largest = rounded.double().abs().sum(1).max() if len(rounded) else torch.zeros(())
    if not largest < torch.finfo(torch.float32).max / 2:
        raise ValueError(
            "outputs must have a sum of magnitudes that float32 can hold twice, got "
            f"{float(largest):g}"
        )
    return rounded
