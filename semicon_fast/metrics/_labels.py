"""Labels of queries and database: what they may be."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..arrays import as_tensor


def check_labels(
    query_labels: Any, database_labels: Any, queries: Tensor, database: Tensor
) -> tuple[Tensor, Tensor]:
    """Labels of codes (Q, bytes) and (N, bytes): int64 (Q,) and (N,), or bool (Q, C) and (N, C).

    Both are on the device of their codes. Raises TypeError or ValueError naming the argument.
    """
    mine = _labels(query_labels, queries, "query_labels")
    theirs = _labels(database_labels, database, "database_labels")
    if mine.shape[1:] != theirs.shape[1:]:
        raise ValueError(
            "query_labels and database_labels must both be (N,) or both (N, C) with one C, "
            f"got {tuple(mine.shape)} and {tuple(theirs.shape)}"
        )
    if mine.ndim == 1:
        _check_range(mine, "query_labels", 0, "0 or more; leave queries without a label out")
        _check_range(theirs, "database_labels", -1, "0 or more, or -1 for an image without a label")
    return mine, theirs


def _labels(values: Any, codes: Tensor, name: str) -> Tensor:
    if isinstance(values, np.ndarray) and values.dtype.kind in "USTO":
        raise TypeError(
            f"{name} must be integers (N,) or bool (N, C), got {values.dtype}; number the classes "
            "of both sets together: np.unique(names, return_inverse=True)[1]"
        )
    labels = as_tensor(values, name)
    multi_hot = labels.ndim == 2 and labels.dtype is torch.bool
    if not multi_hot:
        real = labels.is_floating_point() or labels.is_complex()
        if labels.ndim != 1 or real or labels.dtype is torch.bool:
            hint = "; convert labels of 0 and 1 to bool" if labels.ndim == 2 else ""
            raise TypeError(
                f"{name} must be integers (N,) or bool (N, C), "
                f"got {labels.dtype} {tuple(labels.shape)}{hint}"
            )
    if len(labels) != len(codes):
        raise ValueError(
            f"{name} must have one row for each of the {len(codes)} codes, got {len(labels)}"
        )
    return labels.to(codes.device, torch.bool if multi_hot else torch.int64)


def _check_range(labels: Tensor, name: str, lowest: int, wanted: str) -> None:
    if len(labels) and int(labels.min()) < lowest:
        raise ValueError(f"{name} must be {wanted}, got {int(labels.min())}")
