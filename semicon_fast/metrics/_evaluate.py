"""All retrieval metrics in one pass over the codes."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from ..arrays import Array, check_integer
from ._average_precision import TIES
from ._blocks import APRule, block_curve, block_hits, block_precision_at, block_precision_within
from ._retrieval import Block, Retrieval


@dataclass(frozen=True)
class _Plan:
    """Which metrics are computed for each block."""

    rule: APRule
    all_ties: bool
    precision_at: list[int]
    recall_at: list[int]
    radius: int

    def measure(self, block: Block, size: int) -> Iterator[tuple[str, Tensor]]:
        """Yields (name, values (q,)); the mean over all queries is the metric."""
        for ties in TIES if self.all_ties else (self.rule.ties,):
            values = replace(self.rule, ties=ties).of(block)
            if self.all_ties:
                yield f"mAP_{ties}", values
            if ties == self.rule.ties:
                yield "mAP", values
        for k in self.precision_at:
            yield f"precision@{k}", block_precision_at(block, min(k, size), self.rule.ties)
        for k in self.recall_at:
            found = block_hits(block, min(k, size), self.rule.ties)
            yield f"recall@{k}", found / block.relevant_count.clamp(min=1)
        yield f"precision_within_radius_{self.radius}", block_precision_within(block, self.radius)


def evaluate(
    queries: Array,
    database: Array,
    query_labels: Any,
    database_labels: Any,
    *,
    bits: int,
    topk: int | None = None,
    ties: str = "stable",
    denominator: str = "retrieved",
    all_ties: bool = False,
    precision_at: Sequence[int] = (1, 10, 100),
    recall_at: Sequence[int] = (1, 10, 100),
    radius: int = 2,
    curve: bool = False,
    exclude: Any = None,
    progress: Callable[[int], object] | None = None,
) -> dict[str, Any]:
    """The usual retrieval metrics in one pass, with the same values as the single functions.

    Args:
        queries, database, query_labels, database_labels, bits, topk, ties, denominator, exclude: as
            in `mean_average_precision`.
        all_ties: also compute mAP under every tie rule.
        precision_at, recall_at: the K of precision@K and recall@K, each >= 1.
        radius: radius of the precision within a radius, >= 0.
        curve: also compute `precision_recall_curve`.
        progress: called after each block with the number of its queries.

    Returns a dict that `json.dumps` accepts. Metrics: "mAP"; "precision@K" and "recall@K" for each
    K (with the same tie rule); "precision_within_radius_R"; with all_ties "mAP_stable",
    "mAP_expected", "mAP_optimistic" and "mAP_pessimistic"; with curve "curve": {"radius",
    "precision", "recall", "nonempty"} as lists. Settings and sizes: "bits", "queries", "database",
    "topk", "ties", "denominator", and "queries_without_relevant", the number of queries without any
    relevant code. Raises as `mean_average_precision`, before anything is computed.
    """
    retrieval = Retrieval.checked(queries, database, query_labels, database_labels, bits, exclude)
    plan = _Plan(
        APRule.checked(topk, ties, denominator, retrieval.size),
        all_ties,
        [check_integer(k, "precision_at", 1) for k in precision_at],
        [check_integer(k, "recall_at", 1) for k in recall_at],
        check_integer(radius, "radius", 0),
    )
    return _computed(retrieval, plan, curve, progress) | {
        "bits": bits,
        "queries": len(retrieval),
        "database": retrieval.size,
        "topk": topk,
        "ties": ties,
        "denominator": denominator,
    }


def _computed(
    retrieval: Retrieval, plan: _Plan, curve: bool, progress: Callable[[int], object] | None
) -> dict[str, Any]:
    values: dict[str, list[Tensor]] = {}
    curves, missing = [], []
    for block in retrieval.blocks():
        for name, part in plan.measure(block, retrieval.size):
            values.setdefault(name, []).append(part)
        missing.append((block.relevant_count == 0).sum())
        if curve:
            curves.append(block_curve(block))
        if progress is not None:
            progress(len(block.queries))
    result: dict[str, Any] = {name: float(torch.cat(v).mean()) for name, v in values.items()}
    result["queries_without_relevant"] = int(torch.stack(missing).sum())
    if curve:
        lines = (torch.stack(curves).sum(0) / len(retrieval)).tolist()
        named = dict(zip(("precision", "recall", "nonempty"), lines, strict=True))
        result["curve"] = {"radius": list(range(retrieval.bits + 1)), **named}
    return result
