"""Deep pairwise-supervised hashing (DPSH, IJCAI 2016): each batch against all training images."""

from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor

from .base import Method, check_labels, check_number
from .pairwise import OutputBank, logistic_loss, similar_pairs

if TYPE_CHECKING:
    from ..models.outputs import HashOutput


class DPSH(Method):
    """The negative log-likelihood of the pairwise similarities, with a quantisation term::

        mean_ij [log(1 + e^t_ij) - s_ij t_ij]  +  alpha * mean (u - sign(u))^2

    with t_ij = u_i . u_j / 2 (DPSH's objective, whose sums are means here). u_i is the network's
    output for an image of the batch, and u_j the latest output for any training image, without a
    gradient. The batch itself is among these, each image also paired with itself. Images that have
    no output yet take no part. A batch costs O(B N k) time and O(B N) memory.

    The network's outputs should be linear (no tanh). Two images are similar if they share a label.

    Buffers: those of `OutputBank`, as `bank`.

    Args:
        alpha: weight of the quantisation term, >= 0.
    """

    name: ClassVar[str] = "dpsh"

    bank: OutputBank

    def __init__(self, *, alpha: float = 0.1) -> None:
        super().__init__()
        self.alpha = check_number("alpha", alpha, 0)

    def begin(self, labels: Tensor, code_length: int, generator: torch.Generator) -> None:
        check_labels(labels)
        self.bank = OutputBank(labels, code_length)

    def loss(self, output: "HashOutput", labels: Tensor, rows: Tensor) -> dict[str, Tensor]:
        """The terms "pair" and "quantisation"; also stores the outputs in the bank."""
        outputs = output.codes
        self.bank.store(outputs, rows)
        similar = similar_pairs(labels, self.bank.labels)
        products = outputs @ self.bank.outputs.T / 2
        signs = torch.where(outputs >= 0, 1.0, -1.0)
        return {
            "pair": logistic_loss(products, similar, counted=self.bank.seen),
            "quantisation": self.alpha * (outputs - signs).square().mean(),
        }
