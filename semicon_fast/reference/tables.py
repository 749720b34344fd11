"""Multi-index hashing and pairs within a radius, by their definitions, in plain PyTorch.

A code is cut into pieces of consecutive bits, (first bit, bits), and a table looks codes up by one
of them. Looking up all values within r bits of the query's piece finds the codes whose piece
differs in at most r bits.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from .hamming import hamming_distance, unpack_bits

Spans = Sequence[tuple[int, int]]


def certificate(radii: Sequence[int]) -> int:
    """The distance up to which all codes have been found when each table t has been looked up at
    the radii 0..radii[t]; -1 stands for a table that has not been looked up.

    A code that was not found differs in at least radii[t] + 1 bits of each piece t.
    """
    return sum(radius + 1 for radius in radii) - 1


def piece_differences(queries: Tensor, database: Tensor, pieces: Spans) -> Tensor:
    """In how many bits each piece of each pair differs: int32 (Q, N, pieces)."""
    mine, theirs = unpack_bits(queries), unpack_bits(database)
    differing = mine[:, None] != theirs[None]
    counts = [differing[..., first : first + bits].sum(2) for first, bits in pieces]
    return torch.stack(counts, dim=2).to(torch.int32)


def candidates_topk(
    queries: Tensor, database: Tensor, pieces: Spans, candidates: int, k: int
) -> tuple[Tensor, Tensor]:
    """The k nearest of each query's candidates: distances int32 (Q, k), positions int64 (Q, k).

    Candidates are the first `candidates` codes by (radius at which a table finds them, distance,
    position); k <= candidates <= N.
    """
    radius = piece_differences(queries, database, pieces).amin(2).to(torch.int64)
    distances = hamming_distance(queries, database)
    order = distances.sort(dim=1, stable=True).indices
    order = order.gather(1, radius.gather(1, order).sort(dim=1, stable=True).indices)
    chosen = order[:, :candidates].sort(dim=1).values
    near, order = distances.gather(1, chosen).sort(dim=1, stable=True)
    return near[:, :k].contiguous(), chosen.gather(1, order[:, :k])


def close_pairs(codes: Tensor, radius: int) -> tuple[Tensor, Tensor, Tensor]:
    """All pairs at distance <= radius: first and second int64 (P,), distances int32 (P,).

    first < second are positions; pairs are ascending by (first, second).
    """
    firsts, seconds, found = [], [], []
    for start in range(0, len(codes), 1024):
        near = hamming_distance(codes[start : start + 1024], codes)
        first, second = (near <= radius).nonzero(as_tuple=True)
        keep = second > first + start
        first, second = first[keep], second[keep]
        firsts.append(first + start)
        seconds.append(second)
        found.append(near[first, second])
    empty = torch.empty(0, dtype=torch.int64)
    return (
        torch.cat([empty, *firsts]),
        torch.cat([empty, *seconds]),
        torch.cat([empty.to(torch.int32), *found]),
    )


def connected(first: Tensor, second: Tensor, count: int) -> Tensor:
    """Connected components of `count` nodes by edges (P,): each node's smallest one, int64 (N,)."""
    roots = torch.arange(count)
    while True:
        low = torch.minimum(roots[first], roots[second])
        joined = roots.clone()
        joined.scatter_reduce_(0, first, low, "amin")
        joined.scatter_reduce_(0, second, low, "amin")
        joined = joined[joined]
        if torch.equal(joined, roots):
            return roots
        roots = joined
