"""Asymmetric scores of real-valued outputs with packed codes, in plain PyTorch: the definition.

The score of outputs u with a code b of -1 and +1 (a set bit is +1) is the sum of u_j b_j, as this
sum in float32: bits are taken in groups of four, the terms of a group are added in order of bit,
and the sums of the groups in order of group. Bits beyond the outputs, which are 0 in a code, have
u_j = 0. A negative zero counts as zero. So a score is the same number on every device.
"""

import torch
from torch import Tensor

_GROUP = 4
# Values of a block's temporary tensors, 16 MiB each.
_VALUES = 1 << 22


def score_tables(outputs: Tensor, bytes_: int) -> Tensor:
    """outputs float32 (Q, k) -> float32 (Q, 2 * bytes_, 16): the sums of each group of four bits.

    Entry v of group g is the sum of its terms where bit i of v tells the sign of output 4 g + i.
    """
    padded = torch.nn.functional.pad(outputs, (0, 8 * bytes_ - outputs.shape[1]))
    groups = padded.reshape(len(outputs), 2 * bytes_, 1, _GROUP)
    values = torch.arange(16, device=outputs.device)
    bits = (values[:, None] >> torch.arange(_GROUP, device=outputs.device)) & 1
    terms = torch.where(bits.bool(), groups, -groups)
    total = terms[..., 0]
    for i in range(1, _GROUP):
        total = total + terms[..., i]
    return total


def scores(outputs: Tensor, database: Tensor) -> Tensor:
    """Scores of all pairs: outputs float32 (Q, k), database uint8 (N, bytes) -> float32 (Q, N)."""
    tables = score_tables(outputs, database.shape[1])
    total = torch.zeros(len(outputs), len(database), device=outputs.device)
    for group in range(2 * database.shape[1]):
        nibbles = (database[:, group // 2] >> (4 * (group % 2))) & 15
        found = tables[:, group, nibbles.long()]
        total = found if group == 0 else total + found
    return total + 0.0


def score_topk(outputs: Tensor, database: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The k codes with the largest scores, by (score descending, position ascending).

    outputs float32 (Q, k'), database uint8 (N, bytes), 0 <= k <= N -> scores float32 (Q, k),
    positions int64 (Q, k).
    """
    count, total = len(outputs), len(database)
    best = torch.empty(count, k, device=outputs.device)
    where = torch.empty(count, k, dtype=torch.int64, device=outputs.device)
    if k == 0:
        return best, where
    # Blocks of at least 4 k codes, so that the k that are kept are a small part of each selection.
    step = max(_VALUES // 16, 4 * k)
    queries = max(1, _VALUES // step)
    for first in range(0, count, queries):
        rows = slice(first, first + queries)
        near = torch.empty(len(outputs[rows]), 0, device=outputs.device)
        ids = torch.empty(len(outputs[rows]), 0, dtype=torch.int64, device=outputs.device)
        for start in range(0, total, step):
            found = scores(outputs[rows], database[start : start + step])
            here = torch.arange(start, start + found.shape[1], device=found.device)
            near = torch.cat([near, found], 1)
            ids = torch.cat([ids, here.expand(len(found), -1)], 1)
            # Stable, and positions ascend where scores are equal.
            near, order = near.sort(dim=1, descending=True, stable=True)
            near, ids = near[:, :k], ids.gather(1, order[:, :k])
        best[rows], where[rows] = near, ids
    return best, where
