"""Exact Hamming search over packed codes: distances, k nearest, range search, ranks, histograms.

`reference.hamming` implements the operators for every device; native kernels replace it on the CPU
and on CUDA devices.
"""

import operator
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from .. import native
from ..reference import hamming as reference
from ._library import NAMESPACE, define

MAX_BYTES = 512
_LOADS = {"cpu": native.load, "cuda": native.load_cuda}


def _fake_distance(queries: Tensor, database: Tensor) -> Tensor:
    return queries.new_empty(queries.shape[0], database.shape[0], dtype=torch.int32)


def _fake_topk(queries: Tensor, database: Tensor, k: int) -> tuple[Tensor, Tensor]:
    shape = (queries.shape[0], k)
    return queries.new_empty(shape, dtype=torch.int32), queries.new_empty(shape, dtype=torch.int64)


def _fake_range(queries: Tensor, database: Tensor, radius: int) -> tuple[Tensor, Tensor, Tensor]:
    found = torch.library.get_ctx().new_dynamic_size()
    return (
        queries.new_empty(queries.shape[0] + 1, dtype=torch.int64),
        queries.new_empty(found, dtype=torch.int32),
        queries.new_empty(found, dtype=torch.int64),
    )


def _fake_histogram(queries: Tensor, database: Tensor) -> Tensor:
    return queries.new_empty(queries.shape[0], 8 * queries.shape[1] + 1, dtype=torch.int64)


def _fake_group_histogram(queries: Tensor, database: Tensor, *groups: Tensor) -> Tensor:
    return _fake_histogram(queries, database)


def _fake_ranks(
    queries: Tensor, database: Tensor, groups: Tensor, members: Tensor, lims: Tensor
) -> Tensor:
    return queries.new_empty(torch.library.get_ctx().new_dynamic_size(), dtype=torch.int64)


def native_first(implementation: Callable[..., Any]) -> Callable[..., Any]:
    """Wraps `implementation` so that the native kernels are loaded at first use.

    The first call on the CPU or on a CUDA device loads that device's kernels (see `native.load`)
    and calls the operator again; from then on the dispatcher prefers the native kernels. Where
    there are none, `implementation` is used. All of this happens inside the operator, so
    torch.compile does not see it.
    """
    name = implementation.__name__

    def run(queries: Tensor, *others: Any) -> Any:
        operands = [queries, *(x for x in others if isinstance(x, Tensor))]
        # Other layouts have other dispatch keys: calling the operator again would recurse.
        plain = all(x.device == queries.device and x.layout is torch.strided for x in operands)
        load = _LOADS.get(queries.device.type)
        if plain and not queries.is_quantized and load is not None and load():
            return getattr(getattr(torch.ops, NAMESPACE), name)(queries, *others)
        return implementation(queries, *others)

    return run


DISTANCE = define(
    "hamming_distance(Tensor queries, Tensor database) -> Tensor",
    native_first(reference.hamming_distance),
    _fake_distance,
)
TOPK = define(
    "hamming_topk(Tensor queries, Tensor database, int k) -> (Tensor, Tensor)",
    native_first(reference.hamming_topk),
    _fake_topk,
)
TOPK_OUT = define(
    "hamming_topk_out(Tensor queries, Tensor database, int k, Tensor(a!) distances, "
    "Tensor(b!) positions) -> ()",
    native_first(reference.hamming_topk_out),
    lambda *arguments: None,
)
RANGE = define(
    "hamming_range(Tensor queries, Tensor database, int radius) -> (Tensor, Tensor, Tensor)",
    native_first(reference.hamming_range),
    _fake_range,
)
HISTOGRAM = define(
    "hamming_histogram(Tensor queries, Tensor database) -> Tensor",
    native_first(reference.hamming_histogram),
    _fake_histogram,
)
GROUP_HISTOGRAM = define(
    "hamming_group_histogram(Tensor queries, Tensor database, Tensor groups, Tensor members, "
    "Tensor lims) -> Tensor",
    native_first(reference.hamming_group_histogram),
    _fake_group_histogram,
)
RANKS = define(
    "hamming_ranks(Tensor queries, Tensor database, Tensor groups, Tensor members, Tensor lims) "
    "-> Tensor",
    native_first(reference.hamming_ranks),
    _fake_ranks,
)


def _check(op: str, queries: Tensor, database: Tensor) -> None:
    for name, codes in (("queries", queries), ("database", database)):
        if not isinstance(codes, Tensor):
            raise TypeError(f"{op}: {name} must be a tensor, got {type(codes).__name__}")
        if codes.dtype is not torch.uint8:
            raise TypeError(f"{op}: {name} must be packed uint8, got {codes.dtype}")
        if codes.layout is not torch.strided:
            raise TypeError(f"{op}: {name} must be a dense tensor, got {codes.layout}")
        if codes.ndim != 2 or not 1 <= codes.shape[1] <= MAX_BYTES:
            raise ValueError(
                f"{op}: {name} must be (rows, bytes) with 1 to {MAX_BYTES} bytes, "
                f"got {tuple(codes.shape)}"
            )
    if queries.shape[1] != database.shape[1]:
        raise ValueError(
            f"{op}: queries and database must have equally many bytes per code, "
            f"got {queries.shape[1]} and {database.shape[1]}"
        )
    if queries.device != database.device:
        raise ValueError(
            f"{op}: queries and database must be on one device, "
            f"got {queries.device} and {database.device}"
        )


def check_integer(op: str, name: str, value: Any, high: int | None) -> None:
    limit = "" if high is None else f" and <= {high}, the size of the database"
    try:
        number = operator.index(value)
    except TypeError:
        raise TypeError(f"{op}: {name} must be an integer, got {value!r}") from None
    if number < 0 or (high is not None and number > high):
        raise ValueError(f"{op}: {name} must be >= 0{limit}, got {number}")


def hamming_distance(queries: Tensor, database: Tensor) -> Tensor:
    """Hamming distance of every pair: int32 (Q, N).

    queries uint8 (Q, bytes), database uint8 (N, bytes), packed codes on the same device.
    """
    _check("hamming_distance", queries, database)
    result: Tensor = DISTANCE(queries, database)
    return result


def hamming_topk(
    queries: Tensor, database: Tensor, k: int, out: tuple[Tensor, Tensor] | None = None
) -> tuple[Tensor, Tensor]:
    """The k nearest codes, ascending by (distance, position): int32 (Q, k), int64 (Q, k).

    queries uint8 (Q, bytes), database uint8 (N, bytes), 0 <= k <= N. out: two contiguous tensors of
    these shapes and dtypes, which are written to and returned. Reusing them pays: page faults on
    newly allocated memory cost more than a ranking.
    """
    _check("hamming_topk", queries, database)
    check_integer("hamming_topk", "k", k, database.shape[0])
    if out is None:
        distances, positions = TOPK(queries, database, k)
        return distances, positions
    _check_out(queries, k, *out)
    TOPK_OUT(queries, database, k, *out)
    return out


def _check_out(queries: Tensor, k: int, distances: Tensor, positions: Tensor) -> None:
    for name, value, dtype in (
        ("distances", distances, torch.int32),
        ("positions", positions, torch.int64),
    ):
        shape = (queries.shape[0], k)
        if not isinstance(value, Tensor) or value.dtype is not dtype:
            found = value.dtype if isinstance(value, Tensor) else type(value).__name__
            raise TypeError(f"hamming_topk: out's {name} must be a {dtype} tensor, got {found}")
        if tuple(value.shape) != shape or not value.is_contiguous():
            raise ValueError(
                f"hamming_topk: out's {name} must be contiguous {shape}, got "
                f"{tuple(value.shape)} with strides {tuple(value.stride())}"
            )
        if value.device != queries.device:
            raise ValueError(
                f"hamming_topk: out's {name} must be on {queries.device}, got {value.device}"
            )


def hamming_range(queries: Tensor, database: Tensor, radius: int) -> tuple[Tensor, Tensor, Tensor]:
    """Every code at distance <= radius, ascending by (distance, position) within a query.

    queries uint8 (Q, bytes), database uint8 (N, bytes) -> lims int64 (Q + 1,), distances int32
    (T,), positions int64 (T,); query q's results are the entries lims[q] to lims[q + 1].
    """
    _check("hamming_range", queries, database)
    check_integer("hamming_range", "radius", radius, None)
    radius = min(operator.index(radius), 8 * queries.shape[1])
    lims, distances, positions = RANGE(queries, database, radius)
    return lims, distances, positions


def hamming_histogram(queries: Tensor, database: Tensor) -> Tensor:
    """Histogram of each query's distances to all codes: int64 (Q, 8 * bytes + 1).

    queries uint8 (Q, bytes), database uint8 (N, bytes). Entry d counts the codes at distance d.
    """
    _check("hamming_histogram", queries, database)
    result: Tensor = HISTOGRAM(queries, database)
    return result


def hamming_ranks(
    queries: Tensor, database: Tensor, groups: Tensor, members: Tensor, lims: Tensor
) -> Tensor:
    """Ranks of the members of each query's group among all codes by (distance, position).

    Args:
        queries: uint8 (Q, bytes).
        database: uint8 (N, bytes).
        groups: int64 (Q,), the group of each query.
        members: int64 (M,), the database positions of all groups, ascending within a group.
        lims: int64 (G + 1,); group g is members[lims[g]] to members[lims[g + 1] - 1].

    Returns int64 (T,): the ranks, from 1, of query 0's group in ascending order, then query 1's,
    and so on.
    """
    _check("hamming_ranks", queries, database)
    _check_groups("hamming_ranks", groups, members, lims)
    result: Tensor = RANKS(queries, database, groups, members, lims)
    return result


def hamming_group_histogram(
    queries: Tensor, database: Tensor, groups: Tensor, members: Tensor, lims: Tensor
) -> Tensor:
    """Histogram of each query's distances to its group's members: int64 (Q, 8 * bytes + 1).

    Arguments as in `hamming_ranks`.
    """
    _check("hamming_group_histogram", queries, database)
    _check_groups("hamming_group_histogram", groups, members, lims)
    result: Tensor = GROUP_HISTOGRAM(queries, database, groups, members, lims)
    return result


def _check_groups(op: str, *groups: Tensor) -> None:
    for name, value in zip(("groups", "members", "lims"), groups, strict=True):
        if not isinstance(value, Tensor) or value.dtype is not torch.int64 or value.ndim != 1:
            raise TypeError(f"{op}: {name} must be an int64 tensor with one dimension")
