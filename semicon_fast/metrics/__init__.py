"""Retrieval figures from packed codes and labels; no more than a bounded block of pairs is held."""

from ._evaluate import evaluate
from ._figures import (
    PrecisionRecallCurve,
    average_precision,
    mean_average_precision,
    part_contributions,
    precision_at,
    precision_recall_curve,
    precision_within_radius,
    recall_at,
)

__all__ = [
    "PrecisionRecallCurve",
    "average_precision",
    "evaluate",
    "mean_average_precision",
    "part_contributions",
    "precision_at",
    "precision_recall_curve",
    "precision_within_radius",
    "recall_at",
]
