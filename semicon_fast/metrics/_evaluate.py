"""Every figure of a retrieval in one pass over the codes."""

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from ..search.codes import Array, check_integer
from . import _blocks as blocks
from ._average_precision import DENOMINATORS, TIES
from ._retrieval import Block, Retrieval


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
) -> dict[str, Any]:
    """The usual figures as a dict that `json.dumps` takes; same numbers as the single functions.

    Codes, labels, topk, ties and denominator as in `mean_average_precision`. Keys: "mAP",
    "precision@K" and "recall@K" for each K asked for (under the same tie rule),
    "precision_within_radius_R"; with all_ties also "mAP_stable", "mAP_expected", "mAP_optimistic"
    and "mAP_pessimistic"; with curve also "curve": {"radius", "precision", "recall", "nonempty"} as
    lists. Then what they were computed from: "bits", "queries", "database", "topk", "ties",
    "denominator", and "queries_without_relevant", the queries that no ranking can serve.
    Raises as `mean_average_precision`, before anything is computed.
    """
    retrieval = Retrieval.checked(queries, database, query_labels, database_labels, bits)
    blocks.check_choice(ties, TIES, "ties")
    blocks.check_choice(denominator, DENOMINATORS, "denominator")
    depth = blocks.depth_of(topk, retrieval.size)
    cuts: dict[str, list[int]] = {
        "precision_at": [check_integer(k, "precision_at", 1) for k in precision_at],
        "recall_at": [check_integer(k, "recall_at", 1) for k in recall_at],
    }
    check_integer(radius, "radius", 0)
    rules: list[str] = list(TIES) if all_ties else []

    def measure(block: Block) -> Iterator[tuple[str, Tensor]]:
        """Sums over the block's queries, by name."""
        relevant = block.relevant_count
        precisions = {
            rule: blocks.block_average_precision(block, depth, rule, denominator)
            for rule in {ties, *rules}
        }
        yield "mAP", precisions[ties]
        yield from ((f"mAP_{rule}", precisions[rule]) for rule in rules)
        for name, ks in cuts.items():
            for k in ks:
                found = blocks.block_hits(block, min(k, retrieval.size), ties)
                among = relevant if name == "recall_at" else relevant.new_tensor(k)
                among = among.clamp(max=retrieval.size) if name == "precision_at" else among
                yield f"{name.removesuffix('_at')}@{k}", found / among.clamp(min=1)
        yield f"precision_within_radius_{radius}", blocks.block_ball(block, radius)
        yield "queries_without_relevant", (relevant == 0).double()

    ranked = "stable" in (ties, *rules)
    deepest = max([depth, *cuts["precision_at"], *cuts["recall_at"]])
    sums: dict[str, list[Tensor]] = {}
    curves = []
    for block in retrieval.blocks(min(deepest, retrieval.size) if ranked else None):
        for name, values in measure(block):
            sums.setdefault(name, []).append(values)
        if curve:
            curves.append(blocks.block_curve(block))
    result: dict[str, Any] = {name: float(torch.cat(v).mean()) for name, v in sums.items()}
    missing = int(torch.cat(sums["queries_without_relevant"]).sum())
    result["queries_without_relevant"] = missing
    if curve:
        precision, recall, nonempty = (torch.stack(curves).sum(0) / len(retrieval)).tolist()
        result["curve"] = {
            "radius": list(range(bits + 1)),
            "precision": precision,
            "recall": recall,
            "nonempty": nonempty,
        }
    return result | {
        "bits": bits,
        "queries": len(retrieval),
        "database": retrieval.size,
        "topk": topk,
        "ties": ties,
        "denominator": denominator,
    }
