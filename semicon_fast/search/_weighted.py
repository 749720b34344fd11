"""The codes nearest by a weighted sum of distances by part, exactly.

Weights are made integers u_i with a common factor: w_i = factor * u_i. Where the u_i are small, a
code that has the bits of part i u_i times is u_i d_i away, so the search is an ordinary one among
such codes; one part alone is the case u = 1 there and 0 elsewhere, and costs what its bits cost.
Where they are not, blocks of integer sums are kept only as long as they are needed.
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

# Up to this many times the bits of a code, repeating them costs less than sums of parts.
_MOST_REPEATED = 8
# Repeated codes that a store keeps, and the pairs of which sums are held at a time.
_KEPT = 8
_PAIRS, _QUERIES = 1 << 21, 64
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
        """The largest sum there can be."""
        return sum(u * len(p) for u, p in zip(self.units, self.positions, strict=True))

    def distances(self, sums: Tensor) -> Tensor:
        """Sums of units as weighted distances: int32 for integer weights, else float64."""
        if self.integral:
            return (sums * self.factor.numerator).to(torch.int32)
        return sums.double() * float(self.factor.numerator) / float(self.factor.denominator)


def weighing(weights: Any, groups: Mapping[str, range]) -> Weighing:
    """Checked weights: name -> number >= 0, parts that are not named have 0.

    A float stands for the decimal that it is written as. Raises TypeError or ValueError.
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
    """Weighted distances (Q, k), ascending by (distance, position), and positions int64 (Q, k)."""
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
    """Keeps the k smallest keys sum * N + position while it passes over the codes."""

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
