"""Average precision (AP) of rankings with ties, in closed form from two histograms per query.

With h_i = 1 where rank i is relevant and P_i = (h_1 + ... + h_i) / i,

    AP = (1 / D) sum_{i <= K} h_i P_i,        0 where D = 0.

A tie block is the n codes at one distance, r of them relevant, after N nearer ones of which R are
relevant. Over random orders inside the block (McSherry & Najork, ECIR 2008; He et al., CVPR 2018),
with b = (r - 1) / (n - 1) and harmonic numbers H,

    E sum_{i <= n} h_i P_i = (r / n) [b n + (R + 1 - b - b N) (H_{N+n} - H_N)].

Rank K lies inside at most one block and cuts it after its first m codes. Let j of them be relevant:
j determines numerator and denominator, and given j the order of the m codes is again random. So a
cut block is a weighted sum (or maximum, or minimum) over j, and a complete block is the case n = m,
r = j.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

TIES = ("stable", "expected", "optimistic", "pessimistic")
DENOMINATORS = ("retrieved", "capped", "relevant")

# Entries of the float64 grid (queries, j) held at a time.
_GRID = 1 << 20


def denominator_of(name: str, found: Tensor, relevant: Tensor, topk: int) -> Tensor:
    """The denominator D of AP, from `found` relevant codes in the top K and `relevant` in all.

    name: "retrieved" (found), "capped" (min(relevant, K)) or "relevant".
    """
    if name == "retrieved":
        return found
    return relevant.clamp(max=topk) if name == "capped" else relevant


def _ratio(numerator: Tensor, denominator: Tensor) -> Tensor:
    """numerator / denominator, 0 where the denominator is 0."""
    return torch.where(denominator > 0, numerator / denominator.clamp(min=1), 0.0)


def from_ranks(ranks: Tensor, counts: Tensor, topk: int, denominator: str) -> Tensor:
    """AP float64 (q,) from the ranks of the relevant codes, int64 (T,), query after query.

    counts: int64 (q,), the number of relevant codes of each query.
    """
    first = counts.cumsum(0) - counts
    places = torch.arange(1, len(ranks) + 1, device=ranks.device)
    before = first.repeat_interleave(counts, output_size=len(ranks))
    precisions = (places - before) / ranks.double()
    numerator = sum_each(precisions.masked_fill_(ranks > topk, 0.0), counts)
    found = sum_each((ranks <= topk).double(), counts)
    return _ratio(numerator, denominator_of(denominator, found, counts, topk))


def sum_each(values: Tensor, counts: Tensor) -> Tensor:
    """Segment sums: the first counts[0] values, the next counts[1], ...: float64 (T,) -> (q,)."""
    return torch.segment_reduce(values, "sum", lengths=counts, unsafe=True, initial=0.0)


def from_histograms(
    total: Tensor, relevant: Tensor, topk: int, ties: str, denominator: str
) -> Tensor:
    """AP float64 (q,) from histograms of distances, int64 (q, bits + 1); not for "stable" ties.

    total counts all codes, relevant the relevant ones.
    """
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
    """The tie blocks cut by rank K, at most one per query; int64 (c,) each.

    n codes in the block, r of them relevant, m of them within the top K; `before` codes and `hits`
    relevant codes at smaller distances.
    """

    n: Tensor
    r: Tensor
    m: Tensor
    before: Tensor
    hits: Tensor

    def _grid(self, part: Tensor) -> tuple[Tensor, Tensor]:
        """All j and whether each is possible, (p, J); rows are padded with their largest j."""
        n, r, m = self.n[part], self.r[part], self.m[part]
        low, high = (m - (n - r)).clamp(min=0).unsqueeze(1), torch.minimum(r, m).unsqueeze(1)
        j = low + torch.arange(int((high - low).max()) + 1, device=low.device)
        return j.minimum(high), j <= high

    def parts(self) -> Iterator[Tensor]:
        """Indices 0..c - 1 in groups whose grids have at most about _GRID entries."""
        if len(self.n):
            step = max(1, _GRID // (int(torch.minimum(self.r, self.m).max()) + 1))
            yield from torch.arange(len(self.n), device=self.n.device).split(step)

    def values(self, part: Tensor, numerator: Tensor, sums: "_BlockSums") -> tuple[Tensor, Tensor]:
        """For each j the sum of h_i P_i and the number of relevant codes up to rank K: (p, J)."""
        j, _ = self._grid(part)
        before, hits, m = (x[part].unsqueeze(1) for x in (self.before, self.hits, self.m))
        return numerator.unsqueeze(1) + sums(before, hits, m, j), hits + j

    def over_j(self, part: Tensor, value: Tensor, ties: str) -> Tensor:
        """value (p, J) -> (p,): the maximum, minimum or expectation over j.

        j is hypergeometric: relevant codes in m draws from n, of which r are relevant.
        """
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
    """Sum of h_i P_i over a tie block: relevant codes first, or last, or the mean of all orders."""

    def __init__(self, size: int, ties: str, device: torch.device) -> None:
        # H_i up to a constant. digamma is accurate to the last digits, a running sum is not.
        ranks = torch.arange(1, size + 2, dtype=torch.float64, device=device)
        self.harmonic = torch.special.digamma(ranks)
        self.ties = ties

    def __call__(self, before: Tensor, hits: Tensor, n: Tensor, r: Tensor) -> Tensor:
        """before, hits, n, r: N, R, n and r of the module's docstring, int64 -> float64."""
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
