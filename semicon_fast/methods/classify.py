"""Classification with a softmax: networks whose features other methods hash (DSH, Table 4)."""

from typing import TYPE_CHECKING, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from .base import Method, check_labels

if TYPE_CHECKING:
    from ..models.outputs import HashOutput


class Classify(Method):
    """Cross entropy of the network's outputs, which are the logits of as many classes.

    It trains the classifier of the supplement of DSH (section 3): the network of DSH whose last
    layer is a softmax over the classes. What is of use is its features; the code of an image says
    which logits are not negative.
    """

    name: ClassVar[str] = "classify"

    def begin(self, labels: Tensor, code_length: int, generator: torch.Generator) -> None:
        """See `Method.begin`.

        Raises ValueError for images with several labels, and unless there are as many classes as
        outputs.
        """
        check_labels(labels)
        if labels.ndim != 1:
            raise ValueError("classify needs one label for each image, got multi-label images")
        classes = int(labels.max()) + 1
        if code_length != classes:
            raise ValueError(
                "classify takes the outputs for the logits of the classes: model.code_length must "
                f"be {classes}, the number of classes, got {code_length}"
            )

    def loss(self, output: "HashOutput", labels: Tensor, rows: Tensor) -> dict[str, Tensor]:
        """The term "class"."""
        return {"class": F.cross_entropy(output.codes, labels)}

    def share(self, images: int, batch: int) -> float | None:
        """The loss is a mean over images."""
        return images / batch
