"""Products with the similarity matrix of sampled and database images, without forming the matrix.

Images with the same label, or the same set of labels, form a *group*. Similarity depends only on
the groups, so a product with S (n x N) is a sum over each group, a product with the relevance
matrix R (D x D) between the D groups, and a look-up. For single-label images R is the identity. For
multi-label images R_gh = 1 if the two label sets intersect, which does not have low rank in
general; R is then computed tile by tile.
"""

import numpy as np
import torch
from torch import Tensor

# Rows and columns of one tile of R, which takes 8 MiB in float64.
TILE = 1024
# Database rows that are processed at a time, so that a block of float64 codes fits in the cache.
CHUNK_ROWS = 8192


class Groups:
    """Groups of images with equal labels.

    Attributes:
        index: int64 (N,), the group of each image.
        counts: float64 (D,), the number of images in each group.
        label_sets: float32 (D, C) of 0 and 1, or None for single-label images.
    """

    def __init__(self, labels: Tensor) -> None:
        self.label_sets: Tensor | None = None
        if labels.ndim == 1:
            distinct, self.index = torch.unique(labels, return_inverse=True)
            groups = len(distinct)
        else:
            packed = np.packbits(labels.cpu().numpy(), axis=1)
            _, first, inverse = np.unique(packed, axis=0, return_index=True, return_inverse=True)
            self.index = torch.from_numpy(inverse.reshape(-1)).to(labels.device)
            self.label_sets = labels[torch.from_numpy(first).to(labels.device)].float()
            groups = len(first)
        self.counts = torch.bincount(self.index, minlength=groups).double()

    def __len__(self) -> int:
        return len(self.counts)

    def to(self, device: torch.device) -> "Groups":
        self.index = self.index.to(device)
        self.counts = self.counts.to(device)
        if self.label_sets is not None:
            self.label_sets = self.label_sets.to(device)
        return self

    def sum_similar(self, table: Tensor) -> Tensor:
        """R @ table, the sums over similar groups: float64 (D, c) -> float64 (D, c).

        Free for single-label images, where it returns `table`; O(D^2 (C + c)) for multi-label ones.
        """
        if self.label_sets is None:
            return table
        result = torch.zeros_like(table)
        for rows, sums in zip(self.label_sets.split(TILE), result.split(TILE), strict=True):
            for columns, values in zip(self.label_sets.split(TILE), table.split(TILE), strict=True):
                # In place: small results between large blocks fragment the heap by gigabytes.
                sums.addmm_((rows @ columns.T > 0).double(), values)
        return result


def group_sums(values: Tensor, index: Tensor, groups: int) -> Tensor:
    """Sums of the rows of values (M, k) with equal index (M,): float64 (groups, k).

    Deterministic: the additions are in a fixed order, on a GPU too.
    """
    sums = torch.zeros(groups, values.shape[1], dtype=torch.float64, device=values.device)
    add_group_sums(sums, values, index)
    return sums


def add_group_sums(sums: Tensor, values: Tensor, index: Tensor) -> None:
    """Add `group_sums` of values (M, k) to sums, float64 (groups, k), in place."""
    for rows, where in zip(values.split(CHUNK_ROWS), index.split(CHUNK_ROWS), strict=True):
        if values.is_cuda:
            # On a GPU index_add_ uses atomics, while an accumulating index_put_ sorts first.
            sums.index_put_((where,), rows.double(), accumulate=True)
        else:
            sums.index_add_(0, where, rows.double())


def gram(values: Tensor) -> Tensor:
    """The Gram matrix values^T values in float64: (M, k) -> (k, k)."""
    product = torch.zeros(
        values.shape[1], values.shape[1], dtype=torch.float64, device=values.device
    )
    for rows in values.split(CHUNK_ROWS):
        block = rows.double()
        product += block.T @ block
    return product
