"""Exact Hamming distances, rankings and histograms over packed codes, in plain PyTorch.

A code is a row of bytes; unused bits of the last byte are 0 and so do not differ. With bits as +-1,
a . b = (equal bits) - (differing bits), so the distance is (8 * bytes - a . b) / 2. Sums of +-1 are
exact in float32 up to 2**24 terms, in any order of addition.

Every function takes queries uint8 (Q, bytes) and database uint8 (N, bytes) on one device, with any
strides, and works in blocks, so that temporary memory is bounded.
"""

from collections.abc import Iterator

import torch
from torch import Tensor

# Pairs per block: 16 MiB of int32 distances, about the size of a last-level cache and large enough
# for an efficient matrix product.
_PAIRS = 1 << 22


def unpack_bits(codes: Tensor) -> Tensor:
    """codes uint8 (N, bytes) -> uint8 (N, 8 * bytes) of 0 and 1, least significant bit first."""
    shifts = torch.arange(8, dtype=torch.uint8, device=codes.device)
    return ((codes.unsqueeze(-1) >> shifts) & 1).reshape(codes.shape[0], 8 * codes.shape[1])


def _signs(codes: Tensor) -> Tensor:
    return unpack_bits(codes).float().mul_(2).sub_(1)


def _distances(query_signs: Tensor, database_signs: Tensor) -> Tensor:
    """Distances int32 (q, n). Autocast is disabled because the sums must be exact."""
    width = query_signs.shape[1]
    half = torch.tensor(width / 2, device=query_signs.device)
    with torch.autocast(query_signs.device.type, enabled=False):
        return torch.addmm(half, query_signs, database_signs.T, alpha=-0.5).to(torch.int32)


def _blocks(rows: int, size: int) -> Iterator[slice]:
    for start in range(0, rows, size):
        yield slice(start, min(rows, start + size))


def _database_step(queries: int, width: int) -> int:
    """Database rows per block, such that neither pairs nor unpacked bits exceed _PAIRS."""
    return max(1, _PAIRS // max(1, queries, width))


def _query_step(database: int, bytes_: int) -> int:
    """Queries per block: at least 16, more for a small database."""
    return max(16, _PAIRS // max(1, database, 8 * bytes_))


def hamming_distance(queries: Tensor, database: Tensor) -> Tensor:
    """Hamming distance of every pair, int32 (Q, N)."""
    result = torch.empty(
        queries.shape[0], database.shape[0], dtype=torch.int32, device=queries.device
    )
    for rows in _blocks(queries.shape[0], _query_step(*database.shape)):
        signs = _signs(queries[rows])
        for columns in _blocks(database.shape[0], _database_step(*signs.shape)):
            result[rows, columns] = _distances(signs, _signs(database[columns]))
    return result


def hamming_topk(queries: Tensor, database: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The k nearest codes, ascending by (distance, position): int32 (Q, k), int64 (Q, k).

    0 <= k <= N. Ties are broken by position, so the result for k is the beginning of the result for
    k + 1, on every device.
    """
    count = queries.shape[0]
    distances = torch.empty(count, k, dtype=torch.int32, device=queries.device)
    positions = torch.empty(count, k, dtype=torch.int64, device=queries.device)
    if k == 0:
        return distances, positions
    # A stable sort of a row costs about as much as selecting a tenth of it.
    select = _select if k * 16 <= database.shape[0] else _sort
    for rows in _blocks(count, _query_step(*database.shape)):
        select(queries[rows], database, distances[rows], positions[rows])
    return distances, positions


def hamming_topk_out(
    queries: Tensor, database: Tensor, k: int, distances: Tensor, positions: Tensor
) -> None:
    """As `hamming_topk`, written to existing tensors."""
    found = hamming_topk(queries, database, k)
    distances.copy_(found[0])
    positions.copy_(found[1])


def _select(queries: Tensor, database: Tensor, distances: Tensor, positions: Tensor) -> None:
    """Top k by keeping the k smallest keys distance * N + position, block by block."""
    total, k = database.shape[0], distances.shape[1]
    best = torch.empty(queries.shape[0], 0, dtype=torch.int64, device=queries.device)
    # Blocks of at least 4 k rows, so that the k kept keys are a small part of each selection.
    for columns in _blocks(total, max(_PAIRS // queries.shape[0], 4 * k)):
        keys = hamming_distance(queries, database[columns]).to(torch.int64).mul_(total)
        keys += torch.arange(columns.start, columns.stop, device=keys.device)
        best = torch.cat([best, keys], dim=1)
        best = best.topk(k, dim=1, largest=False, sorted=True).values
    distances.copy_(best.div(total, rounding_mode="floor"))
    positions.copy_(best.remainder(total))


def _sort(queries: Tensor, database: Tensor, distances: Tensor, positions: Tensor) -> None:
    """Top k by sorting each row separately: on the CPU PyTorch has a radix sort for single rows."""
    k = distances.shape[1]
    small = torch.uint8 if 8 * queries.shape[1] < 256 else torch.int16
    for rows in _blocks(queries.shape[0], max(1, _PAIRS // database.shape[0])):
        for row, found in enumerate(hamming_distance(queries[rows], database), rows.start):
            order = found.to(small).sort(stable=True).indices[:k]
            positions[row] = order
            distances[row] = found[order]


def hamming_range(queries: Tensor, database: Tensor, radius: int) -> tuple[Tensor, Tensor, Tensor]:
    """Every code at distance <= radius, ascending by (distance, position) within a query.

    Returns lims int64 (Q + 1,), distances int32 (T,), positions int64 (T,): query q's results are
    the entries lims[q] to lims[q + 1].
    """
    count, total = queries.shape[0], database.shape[0]
    # Distances are compared as int32, in which a larger radius could overflow.
    radius = min(radius, 8 * queries.shape[1])
    lims = torch.zeros(count + 1, dtype=torch.int64, device=queries.device)
    distances = [torch.empty(0, dtype=torch.int32, device=queries.device)]
    positions = [torch.empty(0, dtype=torch.int64, device=queries.device)]
    for rows in _blocks(count, _query_step(total, queries.shape[1])):
        signs = _signs(queries[rows])
        found, near, where = [], [], []
        for columns in _blocks(total, _database_step(*signs.shape)):
            block = _distances(signs, _signs(database[columns]))
            row, column = (block <= radius).nonzero(as_tuple=True)
            found.append(row)
            near.append(block[row, column])
            where.append(column + columns.start)
        if not found:
            continue
        query, distance, position = torch.cat(found), torch.cat(near), torch.cat(where)
        # Pairs are in order of position, so two stable sorts order by (query, distance, position).
        order = distance.sort(stable=True).indices
        order = order[query[order].sort(stable=True).indices]
        distances.append(distance[order])
        positions.append(position[order])
        lims[rows.start + 1 : rows.stop + 1] = torch.bincount(query, minlength=len(signs))
    return lims.cumsum(0), torch.cat(distances), torch.cat(positions)


def hamming_histogram(queries: Tensor, database: Tensor) -> Tensor:
    """Histogram of each query's distances to all codes: int64 (Q, 8 * bytes + 1)."""
    count, width = queries.shape[0], 8 * queries.shape[1] + 1
    result = torch.zeros(count, width, dtype=torch.int64, device=queries.device)
    for rows in _blocks(count, _query_step(*database.shape)):
        signs = _signs(queries[rows])
        first = torch.arange(len(signs), device=queries.device).mul_(width).unsqueeze(1)
        for columns in _blocks(database.shape[0], _database_step(*signs.shape)):
            bins = _distances(signs, _signs(database[columns])) + first
            counts = torch.bincount(bins.flatten(), minlength=len(signs) * width)
            result[rows] += counts.view(len(signs), width)
    return result


def hamming_ranks(
    queries: Tensor, database: Tensor, groups: Tensor, members: Tensor, lims: Tensor
) -> Tensor:
    """Ranks, from 1, of each query's group among all codes by (distance, position): int64 (T,).

    groups int64 (Q,): the group of each query; group g is the positions members[lims[g]] to
    members[lims[g + 1] - 1], ascending. Results are in order of queries, each query's ascending.
    """
    total = database.shape[0]
    result = [members.new_empty(0)]
    for rows in _blocks(queries.shape[0], max(1, _PAIRS // max(1, total))):
        row, wanted = _members(groups[rows], members, lims)
        order = hamming_topk(queries[rows], database, total)[1]
        rank = torch.empty_like(order)
        rank.scatter_(1, order, torch.arange(1, total + 1, device=order.device).expand_as(order))
        result.append((row * (total + 1) + rank[row, wanted]).sort().values % (total + 1))
    return torch.cat(result)


def hamming_group_histogram(
    queries: Tensor, database: Tensor, groups: Tensor, members: Tensor, lims: Tensor
) -> Tensor:
    """Histogram of each query's distances to its group's codes: int64 (Q, 8 * bytes + 1).

    Groups as in `hamming_ranks`.
    """
    width = 8 * queries.shape[1] + 1
    row, wanted = _members(groups, members, lims)
    result = torch.zeros(queries.shape[0] * width, dtype=torch.int64, device=queries.device)
    for pairs in _blocks(len(row), max(1, _PAIRS // width)):
        differing = queries[row[pairs]] ^ database[wanted[pairs]]
        bins = unpack_bits(differing).sum(1) + row[pairs] * width
        result += torch.bincount(bins, minlength=len(result))
    return result.view(-1, width)


def _members(groups: Tensor, members: Tensor, lims: Tensor) -> tuple[Tensor, Tensor]:
    """Pairs (query, position of a member of its group), int64 (T,) each, in order of queries."""
    sizes = lims.diff()[groups]
    row = torch.arange(len(sizes), device=sizes.device).repeat_interleave(sizes)
    place = torch.arange(len(row), device=row.device) - (sizes.cumsum(0) - sizes)[row]
    return row, members[lims[groups][row] + place]
