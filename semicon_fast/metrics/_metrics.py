"""The public figures: each checks its arguments, walks the queries in blocks, and averages."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ..arrays import Array, check_integer, like
from ..codes import select_bits
from ..search.bit_groups import bit_positions
from ._average_precision import DENOMINATORS, TIES
from ._blocks import (
    block_average_precision,
    block_ball,
    block_curve,
    block_hits,
    check_choice,
    depth_of,
)
from ._retrieval import Retrieval


def average_precision(
    queries: Array,
    database: Array,
    query_labels: Any,
    database_labels: Any,
    *,
    bits: int,
    topk: int | None = None,
    ties: str = "stable",
    denominator: str = "retrieved",
) -> Array:
    """AP of each query, float64 (Q,); arguments, rules and errors of `mean_average_precision`."""
    retrieval = Retrieval.checked(queries, database, query_labels, database_labels, bits)
    check_choice(ties, TIES, "ties")
    check_choice(denominator, DENOMINATORS, "denominator")
    depth = depth_of(topk, retrieval.size)
    values = retrieval.each(lambda block: block_average_precision(block, depth, ties, denominator))
    return like(values, queries)


def mean_average_precision(
    queries: Array,
    database: Array,
    query_labels: Any,
    database_labels: Any,
    *,
    bits: int,
    topk: int | None = None,
    ties: str = "stable",
    denominator: str = "retrieved",
) -> float:
    """Mean over the queries of the average precision of the database ranked by Hamming distance.

    Args:
        queries, database: packed codes, uint8 (Q, ceil(bits / 8)) and (N, ceil(bits / 8)).
        query_labels, database_labels: integers (Q,) and (N,), relevant if equal; or bool (Q, C) and
            (N, C), relevant if at least one label is shared.
        topk: ranks K that count; None, or more than N, for all. The released evaluators write -1
            for "all" and then drop the last rank; `topk=N - 1` gives their number.
        ties: how codes at one distance are ordered.
            "stable": by position in the database.
            "expected": the mean over all orders, each as likely; no order can flatter it.
            "optimistic", "pessimistic": the largest and the smallest AP any order can have. That is
            relevant codes first and last, except that with denominator="retrieved" a block which
            K cuts may gain by having fewer relevant codes among the first K.
        denominator: what the sum of precisions at relevant ranks is divided by.
            "retrieved": relevant codes within the top K (the field's habit, and SEMICON's).
            "capped": min(all relevant codes, K). "relevant": all relevant codes.
            With topk=None all three are the same.

    A query without a relevant code (for "retrieved": within the top K) adds 0 and is counted.
    Raises TypeError or ValueError, naming the argument, for anything else than described.
    """
    values = average_precision(
        queries,
        database,
        query_labels,
        database_labels,
        bits=bits,
        topk=topk,
        ties=ties,
        denominator=denominator,
    )
    return float(values.mean())


def precision_at(
    queries: Array,
    database: Array,
    query_labels: Any,
    database_labels: Any,
    k: int,
    *,
    bits: int,
    ties: str = "stable",
) -> float:
    """Mean over the queries of the share of relevant codes among the first min(k, N).

    k >= 1. Codes, labels, ties and errors as in `mean_average_precision`; "optimistic" and
    "pessimistic" take as many and as few relevant codes as possible of the block that k cuts.
    """
    retrieval = Retrieval.checked(queries, database, query_labels, database_labels, bits)
    depth = depth_of(check_integer(k, "k", 1), retrieval.size)
    return float(_hits(retrieval, depth, ties).div(max(depth, 1)).mean())


def recall_at(
    queries: Array,
    database: Array,
    query_labels: Any,
    database_labels: Any,
    k: int,
    *,
    bits: int,
    ties: str = "stable",
) -> float:
    """Mean over the queries of the share of its relevant codes that the first min(k, N) hold.

    k >= 1. A query without a relevant code adds 0 and is counted. Codes, labels, ties and errors
    as in `precision_at`.
    """
    retrieval = Retrieval.checked(queries, database, query_labels, database_labels, bits)
    depth = depth_of(check_integer(k, "k", 1), retrieval.size)
    relevant = retrieval.each(lambda block: block.relevant_count)
    return float((_hits(retrieval, depth, ties) / relevant.clamp(min=1)).mean())


def precision_within_radius(
    queries: Array,
    database: Array,
    query_labels: Any,
    database_labels: Any,
    *,
    bits: int,
    radius: int = 2,
) -> float:
    """Mean over the queries of the share of relevant codes among those at distance <= radius.

    A query with nothing inside the radius adds 0 and is counted. Codes, labels and errors as in
    `mean_average_precision`; radius >= 0.
    """
    retrieval = Retrieval.checked(queries, database, query_labels, database_labels, bits)
    check_integer(radius, "radius", 0)
    return float(retrieval.each(lambda block: block_ball(block, radius)).mean())


class PrecisionRecallCurve(NamedTuple):
    """Averages over the queries at each radius 0..bits, each (bits + 1,)."""

    radius: Any
    precision: Any
    recall: Any
    nonempty: Any


def precision_recall_curve(
    queries: Array, database: Array, query_labels: Any, database_labels: Any, *, bits: int
) -> PrecisionRecallCurve:
    """Precision and recall of "everything at distance <= r", averaged over the queries, by r.

    radius int64, precision, recall and nonempty float64, each (bits + 1,). An empty ball has
    precision 0, as in `precision_within_radius`; `nonempty` is the share of queries whose ball is
    not, so precision / nonempty is the average over those alone. A query without a relevant code
    has recall 0. Codes, labels and errors as in `mean_average_precision`.
    """
    retrieval = Retrieval.checked(queries, database, query_labels, database_labels, bits)
    sums = sum(block_curve(block) for block in retrieval.blocks())
    assert isinstance(sums, Tensor)
    precision, recall, nonempty = sums / len(retrieval)
    radius = torch.arange(bits + 1, device=precision.device)
    return PrecisionRecallCurve(
        *(like(values, queries) for values in (radius, precision, recall, nonempty))
    )


def part_contributions(
    queries: Array,
    database: Array,
    query_labels: Any,
    database_labels: Any,
    *,
    bits: int,
    bit_groups: Mapping[str, slice],
    topk: int | None = None,
    ties: str = "stable",
    denominator: str = "retrieved",
) -> dict[str, dict[str, float]]:
    """mAP of the first group of bits, the first two, ..., and of each alone (supplement 3, Fig. 4).

    bit_groups: name -> slice of 0..bits, in the order they are added; `model.bit_groups`. Returns
    {"cumulative": {"global": .., "global+part1": .., ..}, "alone": {"global": .., ..}}. The rest as
    in `mean_average_precision`.
    """
    Retrieval.checked(queries, database, query_labels, database_labels, bits)
    groups = bit_positions(bit_groups, bits)

    def figure(positions: Sequence[int]) -> float:
        return mean_average_precision(
            select_bits(queries, bits, positions),
            select_bits(database, bits, positions),
            query_labels,
            database_labels,
            bits=len(positions),
            topk=topk,
            ties=ties,
            denominator=denominator,
        )

    names = list(groups)
    prefixes = [names[: i + 1] for i in range(len(names))]
    return {
        "cumulative": {
            "+".join(prefix): figure([p for name in prefix for p in groups[name]])
            for prefix in prefixes
        },
        "alone": {name: figure(positions) for name, positions in groups.items()},
    }


def _hits(retrieval: Retrieval, depth: int, ties: str) -> Tensor:
    check_choice(ties, TIES, "ties")
    return retrieval.each(lambda block: block_hits(block, depth, ties))
