"""The public retrieval metrics: each checks its arguments and averages over blocks of queries."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ..arrays import Array, check_choice, check_integer, like
from ..codes import select_bits
from ..search.bit_groups import bit_positions
from ._average_precision import TIES
from ._blocks import (
    APRule,
    block_curve,
    block_hits,
    block_precision_at,
    block_precision_within,
    depth_of,
)
from ._retrieval import Block, Retrieval


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
    exclude: Any = None,
) -> Array:
    """Average precision of each query, float64 (Q,); otherwise as `mean_average_precision`."""
    retrieval = Retrieval.checked(queries, database, query_labels, database_labels, bits, exclude)
    rule = APRule.checked(topk, ties, denominator, retrieval.size)
    return like(retrieval.each(rule.of), queries)


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
    exclude: Any = None,
) -> float:
    """Mean average precision (mAP) of the database ranked by Hamming distance to each query.

    Args:
        queries, database: packed codes, uint8 (Q, ceil(bits / 8)) and (N, ceil(bits / 8)).
        query_labels, database_labels: integers (Q,) and (N,), relevant if equal; or bool (Q, C) and
            (N, C), relevant if at least one label is shared. An image of the database without a
            label, -1 or no True, is relevant to nothing.
        bits: length of a code, 1..4096.
        topk: number of ranks K that are evaluated; None, or more than N, for all. The released
            evaluation code uses -1 for "all", which drops the last rank; `topk=N - 1` reproduces
            it.
        ties: how codes at the same distance are ordered.
            "stable": by position in the database.
            "expected": the mean over all orders, each equally likely.
            "optimistic", "pessimistic": the largest and the smallest AP that any order can have:
            relevant codes first or last. One exception: with denominator="retrieved", a group of
            tied codes that is cut by K may score higher with fewer relevant codes in the top K.
        denominator: divides the sum of the precisions at relevant ranks.
            "retrieved": relevant codes within the top K (customary, also in SEMICON).
            "capped": min(all relevant codes, K). "relevant": all relevant codes.
            With topk=None all three are equal.
        exclude: integers (Q,), for each query the row of the database that its ranking leaves out,
            usually its own image, or -1 for none; None for none at all. Everything is as if that
            row were not in the database.

    A query without a relevant code (for "retrieved": within the top K) has AP 0 and is included in
    the mean. Raises TypeError or ValueError naming the argument.
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
        exclude=exclude,
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
    exclude: Any = None,
) -> float:
    """Precision at k: the fraction of relevant codes among the first min(k, N), averaged.

    k >= 1. Codes, labels, ties, exclude and errors as in `mean_average_precision`; "optimistic" and
    "pessimistic" count as many or as few relevant codes as possible of the tied codes cut by k.
    """
    retrieval = Retrieval.checked(queries, database, query_labels, database_labels, bits, exclude)
    depth = _depth(retrieval, k, ties)
    return float(retrieval.each(lambda block: block_precision_at(block, depth, ties)).mean())


def recall_at(
    queries: Array,
    database: Array,
    query_labels: Any,
    database_labels: Any,
    k: int,
    *,
    bits: int,
    ties: str = "stable",
    exclude: Any = None,
) -> float:
    """Recall at k: the fraction of relevant codes that is among the first min(k, N), averaged.

    k >= 1. A query without a relevant code has recall 0 and is included in the mean. Codes, labels,
    ties, exclude and errors as in `precision_at`.
    """
    retrieval = Retrieval.checked(queries, database, query_labels, database_labels, bits, exclude)
    depth = _depth(retrieval, k, ties)

    def recall(block: Block) -> Tensor:
        return block_hits(block, depth, ties) / block.relevant_count.clamp(min=1)

    return float(retrieval.each(recall).mean())


def precision_within_radius(
    queries: Array,
    database: Array,
    query_labels: Any,
    database_labels: Any,
    *,
    bits: int,
    radius: int = 2,
    exclude: Any = None,
) -> float:
    """The fraction of relevant codes among those at distance <= radius, averaged over the queries.

    A query with no code within the radius has precision 0 and is included in the mean. Codes,
    labels, exclude and errors as in `mean_average_precision`; radius >= 0.
    """
    retrieval = Retrieval.checked(queries, database, query_labels, database_labels, bits, exclude)
    check_integer(radius, "radius", 0)
    return float(retrieval.each(lambda block: block_precision_within(block, radius)).mean())


class PrecisionRecallCurve(NamedTuple):
    """Averages over the queries by radius 0..bits; each field is (bits + 1,)."""

    radius: Any
    precision: Any
    recall: Any
    nonempty: Any


def precision_recall_curve(
    queries: Array,
    database: Array,
    query_labels: Any,
    database_labels: Any,
    *,
    bits: int,
    exclude: Any = None,
) -> PrecisionRecallCurve:
    """Precision and recall of range search, averaged over the queries, for every radius 0..bits.

    radius int64, precision, recall and nonempty float64, each (bits + 1,). A query with no code
    within the radius has precision 0, as in `precision_within_radius`; `nonempty` is the fraction
    of queries with at least one, so precision / nonempty averages over those only. A query without
    a relevant code has recall 0. Codes, labels, exclude and errors as in `mean_average_precision`.
    """
    retrieval = Retrieval.checked(queries, database, query_labels, database_labels, bits, exclude)
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
    exclude: Any = None,
) -> dict[str, dict[str, float]]:
    """mAP by groups of bits: the first group, the first two, ..., and each group alone.

    This is the experiment of supplement 3, Fig. 4. bit_groups: name -> slice of 0..bits, in the
    order in which groups are added, as `model.bit_groups`. Returns {"cumulative": {"global": ..,
    "global+part1": .., ..}, "alone": {"global": .., ..}}. Otherwise as `mean_average_precision`.
    """
    Retrieval.checked(queries, database, query_labels, database_labels, bits, exclude)
    groups = bit_positions(bit_groups, bits)

    def mean_ap(positions: Sequence[int]) -> float:
        return mean_average_precision(
            select_bits(queries, bits, positions),
            select_bits(database, bits, positions),
            query_labels,
            database_labels,
            bits=len(positions),
            topk=topk,
            ties=ties,
            denominator=denominator,
            exclude=exclude,
        )

    names = list(groups)
    prefixes = [names[: i + 1] for i in range(len(names))]
    return {
        "cumulative": {
            "+".join(prefix): mean_ap([p for name in prefix for p in groups[name]])
            for prefix in prefixes
        },
        "alone": {name: mean_ap(positions) for name, positions in groups.items()},
    }


def _depth(retrieval: Retrieval, k: int, ties: str) -> int:
    """min(k, N). Raises TypeError or ValueError unless k and ties are valid."""
    check_choice(ties, TIES, "ties")
    return depth_of(check_integer(k, "k", 1), retrieval.size)
