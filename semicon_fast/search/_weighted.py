"""Exact k nearest neighbours by a weighted sum of the distances of parts (groups of bits).

Weights are written as integers u_i times a common factor: w_i = factor * u_i. If the u_i are small,
the bits of part i are repeated u_i times: the Hamming distance of such codes is sum u_i d_i, so an
ordinary search over them gives the result. A search by one part alone is the case u = 1 for it and
0 for all others, and costs as much as a search over its bits. If the u_i are large, the weighted
sums are computed block by block.
"""

import math
from collections.abc import Mapping
from fractions import Fraction
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from ..codes import MAX_BITS, select_bits
from ..ops.hamming import hamming_distance, hamming_topk
from ._store import Store

# Repeating bits is faster than adding distances up to this many times the length of a code.
_MOST_REPEATED = 8
# Number of code arrays with repeated or selected bits that a Store caches.
_KEPT = 8
# Pairs whose sums are held at a time, and queries per block.
_PAIRS, _QUERIES = 1 << 21, 64
# Bound of the integer keys sum * N + position.
_KEYS = 2**62
_NUMBERS = (int, float, np.integer, np.floating)


class Weighing(NamedTuple):
    """Weights of parts as `factor` times the integers `units`; `positions` are the parts' bits."""

    positions: list[range]
    units: list[int]
    factor: Fraction
    integral: bool

    @property
    def largest(self) -> int:
        """The largest possible sum."""
        return sum(u * len(p) for u, p in zip(self.units, self.positions, strict=True))

    def distances(self, sums: Tensor) -> Tensor:
        """Sums of units as weighted distances: int32 for integer weights, else float64."""
        if self.integral:
            return (sums * self.factor.numerator).to(torch.int32)
        return sums.double() * float(self.factor.numerator) / float(self.factor.denominator)


def weighing(weights: Any, groups: Mapping[str, range]) -> Weighing:
    """Checks weights, name of a part -> number >= 0; parts not named have weight 0.

    A float is taken as its shortest decimal representation: 0.1 is exactly 1/10. Raises TypeError
    or ValueError.
    """
    if not isinstance(weights, Mapping):
        raise TypeError(f"weights must map names of parts to numbers, got {weights!r}")
    unknown = [name for name in weights if name not in groups]
    if unknown:
        raise ValueError(f"weights must name parts among {', '.join(groups)}, got {unknown[0]!r}")
    exact = {name: _exact(name, value) for name, value in weights.items()}
    named = {name: value for name, value in exact.items() if value > 0}
    if not named:
        raise ValueError("weights must have one that is larger than 0, got none")
    whole = math.lcm(*(value.denominator for value in named.values()))
    units = [int(value * whole) for value in named.values()]
    common = math.gcd(*units)
    found = Weighing(
        [groups[name] for name in named],
        [unit // common for unit in units],
        Fraction(common, whole),
        all(isinstance(weights[name], (int, np.integer)) for name in weights),
    )
    if found.integral and found.largest * found.factor >= 2**31 - 1:
        raise ValueError(
            "weights must keep every distance below 2**31 - 1, "
            f"got up to {found.largest * found.factor}; give floats for more"
        )
    return found


def _exact(name: str, value: Any) -> Fraction:
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, _NUMBERS):
        raise TypeError(f"weights must be numbers >= 0, got {value!r} for {name!r}")
    if not (value == 0 or 1e-30 <= value <= 1e30):
        raise ValueError(f"weights must be 0, or from 1e-30 to 1e30, got {value} for {name!r}")
    return Fraction(str(value))


def nearest(
    queries: Tensor, store: Store, bits: int, k: int, weighed: Weighing
) -> tuple[Tensor, Tensor]:
    """The k nearest by weighted distance: distances (Q, k) and positions int64 (Q, k).

    Ascending by (distance, position). Distances are int32 or float64, see `Weighing.distances`.
    """
    if weighed.largest <= min(_MOST_REPEATED * bits, MAX_BITS):
        pairs = zip(weighed.positions, weighed.units, strict=True)
        repeated = tuple(bit for positions, unit in pairs for bit in [*positions] * unit)
        codes = store.derived(repeated, lambda codes: select_bits(codes, bits, repeated), _KEPT)
        sums, where = hamming_topk(select_bits(queries, bits, repeated), codes, k)
    elif weighed.largest * max(1, store.count) < _KEYS:
        sums, where = _by_sums(queries, store, bits, k, weighed)
    else:
        raise ValueError(
            f"weights must have fewer digits to be told apart among {store.count} codes; "
            "round them, for instance to 6 decimals"
        )
    return weighed.distances(sums), where


def _by_sums(
    queries: Tensor, store: Store, bits: int, k: int, weighed: Weighing
) -> tuple[Tensor, Tensor]:
    """Sums (Q, k) and positions (Q, k): the k smallest keys sum * N + position, block by block."""

    def sliced(positions: range) -> tuple[Tensor, Tensor]:
        codes = store.derived(positions, lambda codes: select_bits(codes, bits, positions), _KEPT)
        return select_bits(queries, bits, positions), codes

    total, device = max(1, store.count), queries.device
    pairs = zip(weighed.positions, weighed.units, strict=True)
    parts = [(unit * total, *sliced(positions)) for positions, unit in pairs]
    keys = torch.empty(len(queries), k, dtype=torch.int64, device=device)
    step = max(_PAIRS // _QUERIES, 4 * k)
    for first in range(0, len(queries), _QUERIES):
        rows = slice(first, first + _QUERIES)
        best = keys.new_empty(len(keys[rows]), 0)
        for start in range(0, store.count, step):
            columns = slice(start, start + step)
            block = torch.arange(total, device=device)[columns].repeat(len(best), 1)
            for factor, asked, searched in parts:
                block += hamming_distance(asked[rows], searched[columns]).long() * factor
            best = torch.cat([best, block], dim=1)
            best = best.topk(min(k, best.shape[1]), largest=False, sorted=True).values
        keys[rows] = best
    return keys.div(total, rounding_mode="floor"), keys.remainder(total)
