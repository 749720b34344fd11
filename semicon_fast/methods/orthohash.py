"""OrthoHash (NeurIPS 2021): one loss, the cosine with fixed and nearly orthogonal centers."""

from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor

from .base import check_number
from .class_centers import CenterMethod, margin_cross_entropy

if TYPE_CHECKING:
    from ..models.outputs import HashOutput


class OrthoHash(CenterMethod):
    """`margin_cross_entropy` of the network's outputs and the centers.

    There is no quantisation term: a cosine of 1 with a center is a code without quantisation error.
    The outputs should be those of a BatchNorm, which balances the bits, without tanh
    (`BackboneHash` with norm=True and tanh=False). Where its statistics were kept, the sign of an
    output is the code. Multi-label images have the shares of their labels as targets.

    Buffers: those of `CenterMethod`.
    """

    name: ClassVar[str] = "orthohash"

    def __init__(self, *, centers: str = "random", scale: float = 8.0, margin: float = 0.2) -> None:
        """Set where the centers come from, and the shape of the loss.

        Args:
            centers: "random", "hadamard", "greedy", "semantic" (without similarities: far apart),
                or a file of `centers.save`.
            scale: factor of the cosines, > 0; 8 in the released code, for all data and lengths.
            margin: margin of the cosine, >= 0; 0.2 in the released code.
        """
        super().__init__()
        self.choose_centers(centers)
        self.scale = check_number("scale", scale, 0, above=True)
        self.margin = check_number("margin", margin, 0)

    def begin(self, labels: Tensor, code_length: int, generator: torch.Generator) -> None:
        super().begin(labels, code_length, generator)
        self.make_centers()

    def loss(self, output: "HashOutput", labels: Tensor, rows: Tensor) -> dict[str, Tensor]:
        """The term "class"."""
        losses = margin_cross_entropy(output.codes, self.centers, labels, self.scale, self.margin)
        return {"class": losses.mean()}

    def share(self, images: int, batch: int) -> float | None:
        """The loss is a mean over images."""
        return images / batch
