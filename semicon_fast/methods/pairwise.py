"""What methods that learn from pairs of images share: similarity, logistic loss, latest outputs."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def similar_pairs(labels: Tensor, others: Tensor) -> Tensor:
    """Which pairs of images share a label: bool (A, B).

    labels, others: int64 (A,) and (B,), or bool (A, C) and (B, C) for multi-label images.
    """
    if labels.ndim == 1:
        return labels[:, None] == others[None]
    return (labels.float() @ others.float().T) > 0


def logistic_loss(
    products: Tensor,
    similar: Tensor,
    *,
    weight: float | None = 1.0,
    counted: Tensor | None = None,
) -> Tensor:
    """The negative log-likelihood of the similarities, log(1 + e^t) - s t, as a mean over pairs.

    The probability that a pair is similar is sigmoid(t) (DPSH, HashNet), so that this is the binary
    cross entropy of the logits t. It is 0 if there is no pair.

    Args:
        products: scaled inner products t of the codes, (A, B).
        similar: the similarities s, bool (A, B).
        weight: weight of a similar pair in the mean, where that of a dissimilar pair is 1. None:
            the mean over similar pairs plus the mean over dissimilar ones, which are HashNet's
            weights |S| / |S_1| and |S| / |S_0|.
        counted: bool (B,), columns that take part; None: all.
    """
    wanted = similar.to(products.dtype)
    losses = F.binary_cross_entropy_with_logits(products, wanted, reduction="none")
    taken = 1.0 if counted is None else counted.to(losses.dtype)
    alike, unlike = wanted * taken, (1 - wanted) * taken
    if weight is None:
        return _weighted_mean(losses, alike) + _weighted_mean(losses, unlike)
    return _weighted_mean(losses, weight * alike + unlike)


def _weighted_mean(losses: Tensor, weights: Tensor) -> Tensor:
    return (losses * weights).sum() / weights.sum().clamp(min=torch.finfo(weights.dtype).tiny)


def loss_between_halves(
    codes: Tensor, labels: Tensor, alpha: float, weight: float | None = 1.0
) -> Tensor:
    """The logistic loss of alpha h_i . h_j over the pairs of the first and the second half.

    codes: h, (B, k). labels: int64 (B,) or bool (B, C). weight: see `logistic_loss`.
    """
    half = len(codes) // 2
    products = alpha * codes[:half] @ codes[half:].T
    return logistic_loss(products, similar_pairs(labels[:half], labels[half:]), weight=weight)


class OutputBank(nn.Module):
    """The latest output of each training image.

    Buffers: outputs float32 (N, k); seen bool (N,), whether there is one yet; and the labels of all
    images, which are not saved.
    """

    labels: Tensor
    outputs: Tensor
    seen: Tensor

    def __init__(self, labels: Tensor, code_length: int) -> None:
        super().__init__()
        count, device = len(labels), labels.device
        self.register_buffer("labels", labels.clone(), persistent=False)
        self.register_buffer("outputs", torch.zeros(count, code_length, device=device))
        self.register_buffer("seen", torch.zeros(count, dtype=torch.bool, device=device))

    @torch.no_grad()
    def store(self, outputs: Tensor, rows: Tensor) -> None:
        """Replace the outputs of the images at `rows`, int64 (B,), by `outputs` (B, k)."""
        self.outputs[rows] = outputs.detach()
        self.seen[rows] = True
