"""Average precision of rankings with ties, in closed form from two histograms per query.

With h_i = 1 where rank i is relevant and P_i = (h_1 + ... + h_i) / i,

    AP = (1 / D) sum_{i <= K} h_i P_i,        0 where D = 0.

A tie block is the n codes at one distance, r of them relevant, after N nearer ones of which R are
relevant. Over random orders inside the block (McSherry & Najork, ECIR 2008; He et al., CVPR 2018),
with b = (r - 1) / (n - 1) and harmonic numbers H,

    E sum_{i <= n} h_i P_i = (r / n) [b n + (R + 1 - b - b N) (H_{N+n} - H_N)].

K cuts at most one block, after its first m codes. How many of its relevant codes are among them, j,
decides numerator and denominator; given j the m codes are in random order again. So a cut block is
a sum (or maximum, or minimum) over j, and a complete one is the case n = m, r = j.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

TIES = ("stable", "expected", "optimistic", "pessimistic")
DENOMINATORS = ("retrieved", "capped", "relevant")

# Entries of the grid (queries, j) held at a time, of float64.
_GRID = 1 << 20


def denominator_of(name: str, found: Tensor, relevant: Tensor, topk: int) -> Tensor:
    """D: "retrieved" (relevant within the top K), "capped" (at most K), or all "relevant"."""
    if name == "retrieved":
        return found
    return relevant.clamp(max=topk) if name == "capped" else relevant


def _ratio(numerator: Tensor, denominator: Tensor) -> Tensor:
    """numerator / denominator, 0 where the denominator is 0."""
    return torch.where(denominator > 0, numerator / denominator.clamp(min=1), 0.0)


def from_ranks(ranks: Tensor, counts: Tensor, topk: int, denominator: str) -> Tensor:
    """ranks int64 (T,) of the relevant codes, counts (q,) of them a query -> AP float64 (q,)."""
    first = counts.cumsum(0) - counts
    places = torch.arange(1, len(ranks) + 1, device=ranks.device)
    before = first.repeat_interleave(counts, output_size=len(ranks))
    precisions = (places - before) / ranks.double()
    numerator = sum_each(precisions.masked_fill_(ranks > topk, 0.0), counts)
    found = sum_each((ranks <= topk).double(), counts)
    return _ratio(numerator, denominator_of(denominator, found, counts, topk))


def sum_each(values: Tensor, counts: Tensor) -> Tensor:
    """Sums of the first counts[0] values, the next counts[1], ...: float64 (T,) -> (q,)."""
    return torch.segment_reduce(values, "sum", lengths=counts, unsafe=True, initial=0.0)


def from_histograms(
    total: Tensor, relevant: Tensor, topk: int, ties: str, denominator: str
) -> Tensor:
    """total, relevant int64 (q, bits + 1) -> AP float64 (q,); ties other than "stable"."""
    sums = _BlockSums(int(total.sum(1).max()), ties, total.device)
    before, hits_before = total.cumsum(1) - total, relevant.cumsum(1) - relevant
    taken = (topk - before).clamp(min=0).minimum(total)
    complete = (taken == total) & (relevant > 0)
    terms = sums(before, hits_before, total, relevant)
    numerator = torch.where(complete, terms, 0.0).sum(1)
    found = torch.where(complete, relevant, 0).sum(1)
    every = relevant.sum(1)
    result = _ratio(numerator, denominator_of(denominator, found, every, topk))
    rows, columns = ((taken > 0) & (taken < total)).nonzero(as_tuple=True)
    cut = _Cut(*(x[rows, columns] for x in (total, relevant, taken, before, hits_before)))
    for part in cut.parts():
        of = rows[part]
        value, hits = cut.values(part, numerator[of], sums)
        whole = denominator_of(denominator, hits, every[of].unsqueeze(1), topk)
        result[of] = cut.over_j(part, _ratio(value, whole), ties)
    return result


@dataclass(frozen=True)
class _Cut:
    """The blocks that K cuts, at most one a query: int64 (c,) each, m of n codes being taken."""

    n: Tensor
    r: Tensor
    m: Tensor
    before: Tensor
    hits: Tensor

    def _grid(self, part: Tensor) -> tuple[Tensor, Tensor]:
        """j and whether it can occur, (p, J); the rest of a row repeats its last j."""
        n, r, m = self.n[part], self.r[part], self.m[part]
        low, high = (m - (n - r)).clamp(min=0).unsqueeze(1), torch.minimum(r, m).unsqueeze(1)
        j = low + torch.arange(int((high - low).max()) + 1, device=low.device)
        return j.minimum(high), j <= high

    def parts(self) -> Iterator[Tensor]:
        """Positions 0..c - 1 in groups whose grids stay within the budget."""
        if len(self.n):
            step = max(1, _GRID // (int(torch.minimum(self.r, self.m).max()) + 1))
            yield from torch.arange(len(self.n), device=self.n.device).split(step)

    def values(self, part: Tensor, numerator: Tensor, sums: "_BlockSums") -> tuple[Tensor, Tensor]:
        """sum of h_i P_i up to rank K, and the hits there, for each j: (p, J) both."""
        j, _ = self._grid(part)
        before, hits, m = (x[part].unsqueeze(1) for x in (self.before, self.hits, self.m))
        return numerator.unsqueeze(1) + sums(before, hits, m, j), hits + j

    def over_j(self, part: Tensor, value: Tensor, ties: str) -> Tensor:
        """value (p, J) -> (p,): the best, the worst, or the mean of j good ones in m draws of n."""
        j, valid = self._grid(part)
        if ties == "optimistic":
            return value.masked_fill(~valid, -1.0).amax(1)
        if ties == "pessimistic":
            return value.masked_fill(~valid, 2.0).amin(1)
        n, r, m = (x[part].unsqueeze(1) for x in (self.n, self.r, self.m))
        log = _log_choose(r, j) + _log_choose(n - r, m - j)
        weight = torch.softmax(log.masked_fill(~valid, -torch.inf), dim=1)
        return (weight * value).sum(1)


def _log_choose(n: Tensor, k: Tensor) -> Tensor:
    n, k = n.double(), k.double()
    return torch.lgamma(n + 1) - torch.lgamma(k + 1) - torch.lgamma(n - k + 1)


class _BlockSums:
    """sum of h_i P_i over a tie block: relevant ones first, or last, or the mean over orders."""

    def __init__(self, size: int, ties: str, device: torch.device) -> None:
        # H_i up to a constant; digamma is exact to the last digits where a running sum is not.
        ranks = torch.arange(1, size + 2, dtype=torch.float64, device=device)
        self.harmonic = torch.special.digamma(ranks)
        self.ties = ties

    def __call__(self, before: Tensor, hits: Tensor, n: Tensor, r: Tensor) -> Tensor:
        """before, hits: N and R of the header; n, r of the block. int64 in, float64 out."""
        if self.ties == "optimistic":
            return r + (hits - before) * self._between(before, before + r)
        if self.ties == "pessimistic":
            return r + (hits - before - n + r) * self._between(before + n - r, before + n)
        slope = torch.where(n > 1, (r - 1) / (n - 1).clamp(min=1).double(), 0.0)
        inner = slope * n + (hits + 1 - slope - slope * before) * self._between(before, before + n)
        return r / n.clamp(min=1).double() * inner

    def _between(self, low: Tensor, high: Tensor) -> Tensor:
        """1 / (low + 1) + ... + 1 / high."""
        return self.harmonic[high] - self.harmonic[low]
