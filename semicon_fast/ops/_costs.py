"""What a scan and a search in tables cost on this machine, in nanoseconds."""

import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ..native.constants import measured
from .hamming import hamming_topk
from .tables import Piece, build_tables, expected_work, tables_range

_CODES = 1 << 24  # 128 MiB of 64-bit codes: more than caches hold
_FEW = 1 << 18
_RADIUS = 11
_ROUNDS = 3


def scan_ns(queries: int, count: int, width: int) -> float:
    """Expected nanoseconds of a scan of `count` codes of `width` bytes."""
    lane = next((size for size in (2, 4, 8) if width <= size), -(-width // 8) * 8)
    costs = _costs()
    pair = max(costs["read"], costs["pair"] * queries)
    return costs["call"] + count * lane * pair


def lookup_ns() -> float:
    """Nanoseconds of a lookup or comparison of a search in tables, on one thread."""
    return _costs()["lookup"]


def _costs() -> dict[str, float]:
    """Nanoseconds: read and pair, for a byte of a code, of the one query or of each of many;
    lookup; call, for a scan of a few codes.

    Measured once on a machine (`native.constants`), which takes some two seconds and 400 MB.
    """
    return measured("search-costs", torch.ops.semicon_fast._isa(), _measure)


def _measure() -> dict[str, float]:
    generator = torch.Generator().manual_seed(0)

    def draw(rows: int) -> Tensor:
        words = torch.randint(-(2**63), 2**63 - 1, (rows,), generator=generator)
        return words.view(torch.uint8).view(rows, 8)

    codes, queries = draw(_CODES), draw(256)
    few = codes[:_FEW]
    one, many = queries[:1], queries
    pieces = [Piece(0, 22, 22), Piece(22, 21, 21), Piece(43, 21, 21)]
    tables = build_tables(codes, pieces)
    work = expected_work(pieces, _CODES, _RADIUS)

    def look_up() -> None:
        for query in queries[:16].split(1):
            tables_range(query, codes, tables, _RADIUS, float("inf"))

    return {
        "call": _nanoseconds(lambda: hamming_topk(one, codes[:64], 10)),
        "read": _nanoseconds(lambda: hamming_topk(one, codes, 10)) / codes.nbytes,
        "pair": _nanoseconds(lambda: hamming_topk(many, few, 10)) / (few.nbytes * len(many)),
        "lookup": _nanoseconds(look_up) / (16 * work),
    }


def _nanoseconds(run: Callable[[], Any]) -> float:
    """The shortest of a few runs: others' work only makes a run longer."""
    times = []
    for _ in range(_ROUNDS):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return 1e9 * min(times)
