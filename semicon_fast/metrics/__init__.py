"""Retrieval metrics from packed codes and labels, in bounded memory: no ranking is stored whole.

Also metrics of attention maps and of single bits, for images whose parts are annotated.
"""

from ._evaluate import evaluate
from ._galleries import evaluate_galleries, numbered_labels, own_rows
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
from ._neighbours import CodeRecall, code_recall, neighbour_recall

__all__ = [
    "CodeRecall",
    "PrecisionRecallCurve",
    "average_precision",
    "bit_information",
    "code_recall",
    "evaluate",
    "evaluate_galleries",
    "map_likeness",
    "map_overlap",
    "mean_average_precision",
    "neighbour_recall",
    "numbered_labels",
    "own_rows",
    "part_contributions",
    "precision_at",
    "precision_recall_curve",
    "precision_within_radius",
    "recall_at",
]
