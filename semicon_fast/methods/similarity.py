"""The similarity matrix of all sampled images against all database images, never written down.

Images with the same label, or the same set of labels, are one *group*. Two images are similar when
their groups are, so a product with S (n x N) is sums over groups, a product with the relevance R
(D x D) between the D groups, and a look-up. With one label an image R is the identity; with
several, R_gh = 1 where the two sets have a label in common, which is not low rank in general: R
keeps the size D x D (D distinct label sets) and is formed tile by tile.
"""

import numpy as np
import torch
from torch import Tensor

# Rows and columns of one tile of R: its float64 values are 8 MiB.
TILE = 1024
# Rows of the database taken at a time; a block of float64 codes then stays in the cache.
CHUNK_ROWS = 8192


class Groups:
    """Groups of images with equal labels.

    index int64 (N,): group of each image; counts float64 (D,): images in each group; label_sets
    float32 (D, C), or None where each image has one label.
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

    def spread(self, table: Tensor) -> Tensor:
        """R @ table: float64 (D, c) -> float64 (D, c), sums over the similar groups.

        O(D c) for one label an image, O(D^2 (C + c)) for several.
        """
        if self.label_sets is None:
            return table
        result = torch.zeros_like(table)
        for rows, sums in zip(self.label_sets.split(TILE), result.split(TILE), strict=True):
            for columns, values in zip(self.label_sets.split(TILE), table.split(TILE), strict=True):
                # In place: small results kept between large blocks fragment the heap by gigabytes.
                sums.addmm_((rows @ columns.T > 0).double(), values)
        return result


def group_sums(values: Tensor, index: Tensor, groups: int) -> Tensor:
    """Sums of the rows of values (M, k) with equal index (M,): float64 (groups, k).

    The order of the additions is fixed, so equal arguments give equal bits.
    """
    sums = torch.zeros(groups, values.shape[1], dtype=torch.float64, device=values.device)
    for rows, where in zip(values.split(CHUNK_ROWS), index.split(CHUNK_ROWS), strict=True):
        if values.is_cuda:
            # index_add_ adds with atomics on a GPU; accumulating index_put_ sorts first.
            sums.index_put_((where,), rows.double(), accumulate=True)
        else:
            sums.index_add_(0, where, rows.double())
    return sums


def gram(values: Tensor) -> Tensor:
    """values^T values in float64: (M, k) -> (k, k)."""
    product = torch.zeros(
        values.shape[1], values.shape[1], dtype=torch.float64, device=values.device
    )
    for rows in values.split(CHUNK_ROWS):
        block = rows.double()
        product += block.T @ block
    return product
