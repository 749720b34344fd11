"""Retrieval figures from packed codes and labels; no more than a bounded block of pairs is held.

And what attention maps and bits mean, where the parts of the images are known.
"""

from ._evaluate import evaluate
from ._interpretability import bit_information, map_likeness, map_overlap
from ._metrics import (
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
    "bit_information",
    "evaluate",
    "map_likeness",
    "map_overlap",
    "mean_average_precision",
    "part_contributions",
    "precision_at",
    "precision_recall_curve",
    "precision_within_radius",
    "recall_at",
]
