"""Rows of the tables of Hamming searches: times, rates, and their share of the limits."""

from collections.abc import Sequence
from statistics import median
from typing import Any

from hamming_cases import Case
from harness import command, environment

KEY = ("case", "engine", "device", "threads")
SHOWN = ("engine", "queries", "milliseconds", "Gpairs_per_s", "GB_per_s", "share_of_bandwidth")
SHOWN += ("share_of_loop", "ours_over_it")


def row(
    case: Case,
    engine: str,
    queries: int,
    times: Sequence[float],
    *,
    bandwidth: float,
    limit: float,
    own_rate: float | None,
    threads: int,
    isa: str,
    device: str,
) -> dict[str, Any]:
    """The row of one engine.

    Args:
        times: seconds of each call.
        bandwidth: bytes per second.
        limit: pairs per second of the inner loop alone.
        own_rate: pairs per second of the case's first engine, None for the first engine itself.
    """
    took = median(times)
    rate = queries * case.codes / took
    read = case.codes * ((case.bits + 7) // 8) / took
    return {
        "case": case.name,
        "engine": engine,
        "bits": case.bits,
        "queries": queries,
        "k": case.k,
        "codes": case.codes,
        "threads": threads,
        "isa": isa,
        "milliseconds": 1e3 * took,
        "calls": len(times),
        "Gpairs_per_s": rate / 1e9,
        "Gcodes_per_s": case.codes / took / 1e9,
        "GB_per_s": read / 1e9,
        "bandwidth_GB_per_s": bandwidth / 1e9,
        "share_of_bandwidth": read / bandwidth,
        "loop_Gpairs_per_s": limit / 1e9,
        "share_of_loop": rate / limit,
        "ours_over_it": (own_rate or rate) / rate,
        **environment(device),
        "command": command(),
    }


def shown(rows: Sequence[dict[str, Any]]) -> list[list[str]]:
    """The columns of SHOWN as text."""
    return [[f"{r[c]:.3g}" if isinstance(r[c], float) else str(r[c]) for c in SHOWN] for r in rows]
