"""Central similarity quantization (CSQ, CVPR 2020): every bit learns that of its image's center."""

from typing import TYPE_CHECKING, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from .base import check_number
from .class_centers import CenterMethod, distance_to_signs
from .pairwise import loss_between_halves

if TYPE_CHECKING:
    from ..models.outputs import HashOutput


class CSQ(CenterMethod):
    """The binary cross entropy of each bit with its center's, and a quantisation term::

        mean BCE((h + 1) / 2, (c + 1) / 2)  +  quantisation * mean (|h| - 1)^2,   h = tanh(u)

    (CSQ, central similarity and quantisation loss, as released). Since (1 + tanh u) / 2 =
    sigmoid(2 u), the first is the cross entropy of the logits 2 u, which is exact however large u
    is. The network's outputs u should be linear (no tanh).

    Buffers: those of `CenterMethod`.
    """

    name: ClassVar[str] = "csq"

    def __init__(
        self, *, centers: str = "hadamard", quantisation: float = 0.05, pairwise: float = 0.0
    ) -> None:
        """Set where the centers come from, and the weights of the terms.

        Args:
            centers: "hadamard", "random", "greedy", "semantic" (without similarities: far apart),
                or a file of `centers.save`.
            quantisation: weight of the quantisation term, >= 0; 0.05 as released.
            pairwise: weight, >= 0, of a term that is not in the paper but in the released code,
                there with 0.2: the logistic loss of (10 / k) h_i . h_j over the pairs of the first
                and the second half of a batch.
        """
        super().__init__()
        self.choose_centers(centers)
        self.quantisation = check_number("quantisation", quantisation, 0)
        self.pairwise = check_number("pairwise", pairwise, 0)

    def begin(self, labels: Tensor, code_length: int, generator: torch.Generator) -> None:
        super().begin(labels, code_length, generator)
        self.make_centers()

    def loss(self, output: "HashOutput", labels: Tensor, rows: Tensor) -> dict[str, Tensor]:
        """The terms "center" and "quantisation", and "pair" if it has a weight."""
        outputs = output.codes
        codes = torch.tanh(outputs)
        bits = (self.targets(labels) + 1) / 2
        terms = {
            "center": F.binary_cross_entropy_with_logits(2 * outputs, bits),
            "quantisation": self.quantisation * distance_to_signs(codes),
        }
        if self.pairwise:
            alpha = 10 / codes.shape[1]
            terms["pair"] = self.pairwise * loss_between_halves(codes, labels, alpha)
        return terms

    def share(self, images: int, batch: int) -> float | None:
        """The loss is a mean over images, but for that of pairs."""
        return None if self.pairwise else images / batch
