"""Metrics of the queries of one block, from its histograms or the ranks of relevant codes."""

from dataclasses import dataclass

import torch
from torch import Tensor

from ..arrays import check_choice, check_integer
from ._average_precision import DENOMINATORS, TIES, from_histograms, from_ranks, sum_each
from ._retrieval import Block


def depth_of(topk: int | None, size: int) -> int:
    """Number of ranks that are evaluated: topk, or `size` if topk is None or larger.

    Raises TypeError or ValueError unless topk is None or an integer >= 1.
    """
    if topk is None:
        return size
    try:
        return min(check_integer(topk, "topk", 1), size)
    except ValueError as error:
        raise ValueError(f"{error}; None means the whole database") from None


@dataclass(frozen=True)
class APRule:
    """How average precision is computed: evaluated ranks, order of ties, and denominator."""

    depth: int
    ties: str
    denominator: str

    @classmethod
    def checked(cls, topk: int | None, ties: str, denominator: str, size: int) -> "APRule":
        """Checks the arguments of `mean_average_precision` for a database of `size` codes."""
        check_choice(ties, TIES, "ties")
        check_choice(denominator, DENOMINATORS, "denominator")
        return cls(depth_of(topk, size), ties, denominator)

    def of(self, block: Block) -> Tensor:
        """AP of the block's queries, float64 (q,)."""
        if self.ties == "stable":
            return from_ranks(block.ranks, block.relevant_count, self.depth, self.denominator)
        return from_histograms(block.total, block.relevant, self.depth, self.ties, self.denominator)


def block_hits(block: Block, depth: int, ties: str) -> Tensor:
    """Relevant codes within the first `depth` ranks, float64 (q,).

    With ties "expected" it is the expectation over all orders of tied codes.
    """
    if ties == "stable":
        return sum_each((block.ranks <= depth).double(), block.relevant_count)
    total, relevant = block.total, block.relevant
    taken = (depth - (total.cumsum(1) - total)).clamp(min=0).minimum(total)
    if ties == "optimistic":
        return relevant.minimum(taken).sum(1).double()
    if ties == "pessimistic":
        return (taken - (total - relevant)).clamp(min=0).sum(1).double()
    return (taken * relevant / total.clamp(min=1).double()).sum(1)


def block_precision_at(block: Block, depth: int, ties: str) -> Tensor:
    """Precision of the first `depth` ranks, or of all where fewer are searched, float64 (q,)."""
    ranks = block.searched_count.clamp(max=depth)
    return block_hits(block, depth, ties) / ranks.clamp(min=1)


def block_precision_within(block: Block, radius: int) -> Tensor:
    """Precision within the radius, float64 (q,), 0 for queries with no code within it."""
    inside = block.total[:, : radius + 1].sum(1)
    return block.relevant[:, : radius + 1].sum(1) / inside.clamp(min=1).double()


def block_curve(block: Block) -> Tensor:
    """Precision, recall and non-emptiness by radius, summed over queries: float64 (3, bits + 1)."""
    inside, found = block.total.cumsum(1), block.relevant.cumsum(1).double()
    every = found[:, -1:].clamp(min=1)
    return torch.stack(
        [
            (found / inside.clamp(min=1)).sum(0),
            (found / every).sum(0),
            (inside > 0).sum(0).double(),
        ]
    )
