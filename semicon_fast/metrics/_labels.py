"""Labels of queries and database: what they may be."""

from typing import Any

from torch import Tensor

from ..arrays import as_labels


def check_labels(
    query_labels: Any, database_labels: Any, queries: Tensor, database: Tensor
) -> tuple[Tensor, Tensor]:
    """Labels of codes (Q, bytes) and (N, bytes): int64 (Q,) and (N,), or bool (Q, C) and (N, C).

    Both are on the device of their codes. Raises TypeError or ValueError naming the argument.
    """
    mine = as_labels(query_labels, "query_labels", len(queries), "codes").to(queries.device)
    theirs = as_labels(database_labels, "database_labels", len(database), "codes")
    theirs = theirs.to(database.device)
    if mine.shape[1:] != theirs.shape[1:]:
        raise ValueError(
            "query_labels and database_labels must both be (N,) or both (N, C) with one C, "
            f"got {tuple(mine.shape)} and {tuple(theirs.shape)}"
        )
    if mine.ndim == 1:
        _check_range(mine, "query_labels", 0, "0 or more; leave queries without a label out")
        _check_range(theirs, "database_labels", -1, "0 or more, or -1 for an image without a label")
    return mine, theirs


def _check_range(labels: Tensor, name: str, lowest: int, wanted: str) -> None:
    if len(labels) and int(labels.min()) < lowest:
        raise ValueError(f"{name} must be {wanted}, got {int(labels.min())}")
