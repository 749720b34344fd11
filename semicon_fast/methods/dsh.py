"""Deep supervised hashing (DSH, CVPR 2016): a contrastive loss on all pairs of a batch."""

from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor

from .base import Method, check_labels, check_number
from .pairwise import similar_pairs

if TYPE_CHECKING:
    from ..models.outputs import HashOutput


def code_regulariser(outputs: Tensor) -> Tensor:
    """The regulariser | |b| - 1 |, elementwise, with the paper's subgradient: +1 for b >= 1 and for
    -1 <= b <= 0, else -1."""
    inner = torch.where(outputs > 0, 1 - outputs, 1 + outputs)
    outer = torch.where(outputs > 0, outputs - 1, -1 - outputs)
    return torch.where((outputs >= 1) | (outputs < -1), outer, inner)


def contrastive_loss(outputs: Tensor, similar: Tensor, margin: float) -> Tensor:
    """The contrastive loss of each pair, (B, B): d for similar pairs and max(margin - d, 0) for the
    others, where d is the squared distance.

    outputs: (B, k). similar: bool (B, B).
    """
    squares = outputs.square().sum(1)
    distances = (squares[:, None] + squares[None] - 2 * outputs @ outputs.T).clamp(min=0)
    return torch.where(similar, distances, (margin - distances).clamp(min=0))


class DSH(Method):
    """sum_{i<j} contrastive_loss / (B (B - 1)) + alpha * mean_i sum | |b_i| - 1 |, as released.

    The network's outputs are linear (no tanh). Two images are similar if they share a label.

    Args:
        margin: margin of the squared distance, > 0; None: 2 k. Codes of -1 and +1 have
            |b - b'|^2 = 4 d_H, so that this is a Hamming distance of k / 2.
        alpha: weight of the regulariser, >= 0.
    """

    name: ClassVar[str] = "dsh"

    def __init__(self, *, margin: float | None = None, alpha: float = 0.01) -> None:
        super().__init__()
        self.given_margin = (
            None if margin is None else check_number("margin", margin, 0, above=True)
        )
        self.alpha = check_number("alpha", alpha, 0)
        self.margin = self.given_margin

    def begin(self, labels: Tensor, code_length: int, generator: torch.Generator) -> None:
        check_labels(labels)
        self.margin = 2.0 * code_length if self.given_margin is None else self.given_margin

    def loss(self, output: "HashOutput", labels: Tensor, rows: Tensor) -> dict[str, Tensor]:
        """The terms "pair" and "regulariser"; for a batch of one image "pair" is 0."""
        outputs = output.codes.float()
        number = len(outputs)
        margin = 2.0 * outputs.shape[1] if self.margin is None else self.margin
        similar = similar_pairs(labels, labels)
        pairs = contrastive_loss(outputs, similar, margin).triu(1).sum()
        return {
            "pair": pairs / max(1, number * (number - 1)),
            "regulariser": self.alpha * code_regulariser(outputs).sum() / number,
        }
