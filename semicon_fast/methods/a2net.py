"""A2-Net's objective (NeurIPS 2021): codes from which the features can be reconstructed.

The first half of the outer iterations minimises the asymmetric objective of `asymmetric.py`. The
second half, the fine-tuning, adds for a batch of B images with outputs U (B, k), weights W of the
last layer and concatenated features f ::

    reconstruction  mean (W^T u - f)^2, over images and features
    decorrelation   mean (U^T U - B I)^2 / (B k), over the k x k entries

as in the code of the published runs. The features are not a constant in the reconstruction, which
the network could lower by shrinking them. The image generators of that code are left out, since no
term uses what they draw. B is the number of images in the batch, also in a last, smaller one, for
which that code takes the size of the others.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from .asymmetric import AsymmetricMethod
from .base import check_number

if TYPE_CHECKING:
    from ..models import HashModel
    from ..models.outputs import HashOutput


def decorrelation(outputs: Tensor) -> Tensor:
    """mean (U^T U - B I)^2 / (B k) of outputs U (B, k): 0 if bits are balanced and uncorrelated."""
    images, bits = outputs.shape
    wanted = images * torch.eye(bits, dtype=outputs.dtype, device=outputs.device)
    return F.mse_loss(outputs.T @ outputs, wanted) / (images * bits)


class A2NetObjective(AsymmetricMethod):
    """A2-Net's objective, for the network `A2Net`. Buffers: those of `AsymmetricMethod`."""

    name: ClassVar[str] = "a2net"

    def __init__(
        self,
        *,
        gamma: float = 200.0,
        beta: float = 1.0,
        reconstruction: float = 1.0,
        decorrelation: float = 1.0,
        finetune: int | None = None,
        start: str = "normal",
    ) -> None:
        """Set the weights of the terms, and when the last two begin.

        Args:
            gamma: weight of the quantisation term, >= 0.
            beta: weight of the similarity term, >= 0.
            reconstruction: weight of the reconstruction, >= 0.
            decorrelation: weight of the decorrelation, >= 0.
            finetune: outer iterations before the fine-tuning, below their number; None: half of
                them, rounded down.
            start: codes before the first update, "normal" (standard normal values) or "zeros".
        """
        super().__init__(gamma=gamma, beta=beta, start=start)
        self.reconstruction = check_number("reconstruction", reconstruction, 0)
        self.decorrelation = check_number("decorrelation", decorrelation, 0)
        if finetune is not None and (type(finetune) is not int or finetune < 0):
            raise ValueError(f"finetune must be an int of at least 0, or None, got {finetune!r}")
        self.finetune = finetune
        self.finetunes = False
        self._first: int | None = None

    def prepare(self, model: "HashModel", iterations: int, kept: Tensor) -> None:
        if not model.decodes:
            raise ValueError(
                "a2net reconstructs the features of its own network, set model.network=a2net; "
                f"network {model.network!r} decodes no features"
            )
        self._first = iterations // 2 if self.finetune is None else self.finetune
        if self._first >= iterations:
            raise ValueError(
                "finetune must be below the number of outer iterations, so that one is left to "
                f"fine-tune in, got finetune={self.finetune} and schedule.iterations={iterations}"
            )

    def start_iteration(self, iteration: int, rows: Tensor) -> None:
        super().start_iteration(iteration, rows)
        if self._first is None:
            raise RuntimeError("A2NetObjective: call prepare(model, ...) first")
        self.finetunes = iteration >= self._first

    def loss(self, output: "HashOutput", labels: Tensor, rows: Tensor) -> dict[str, Tensor]:
        """The terms "hash", "quantisation", "reconstruction" and "decorrelation"; the last two are
        0 before the fine-tuning."""
        terms = super().loss(output, labels, rows)
        codes, parts, decoded = output.codes, output.parts, output.decoded
        terms["reconstruction"] = terms["decorrelation"] = codes.new_zeros(())
        if self.finetunes:
            assert parts is not None and decoded is not None
            features = torch.cat([parts.flatten(1), output.features], dim=1)
            terms["reconstruction"] = self.reconstruction * F.mse_loss(decoded, features)
            terms["decorrelation"] = self.decorrelation * decorrelation(codes)
        return terms

    def share(self, images: int, batch: int) -> float | None:
        """None: the decorrelation is over a whole batch."""
        return None

    def exchange(self, total: Callable[[Tensor], Tensor]) -> None:
        """Nothing: every process has computed the loss of whole batches."""
