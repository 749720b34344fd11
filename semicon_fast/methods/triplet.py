"""Triplet embeddings with semi-hard sampling, by pytorch-metric-learning."""

from typing import TYPE_CHECKING, Any, ClassVar

from torch import Tensor

from .base import Method, check_labels, check_number

if TYPE_CHECKING:
    from ..models.outputs import HashOutput


class Triplet(Method):
    """The triplet loss of unit vectors over the semi-hard triplets of a batch (FaceNet)::

        mean over triplets of max(0, d(a, p) - d(a, n) + margin)

    where d is the squared Euclidean distance of the network's outputs, divided by their norms. A
    triplet of an anchor, a positive of its class and a negative of another is semi-hard if
    0 < d(a, n) - d(a, p) <= margin; the others take no part, nor do those with a loss of 0. A batch
    without triplets has the loss 0. It costs O(B^3) memory: B should be at most 128, and have
    several images of a class.

    The outputs are an embedding, which ExchNet's supplement re-ranks by; their signs are a code
    too. They should be linear (no tanh).

    Needs pytorch-metric-learning, the extra "metric".

    Args:
        margin: > 0; 0.2 as in FaceNet.
        power: 2 for squared distances, 1 for distances.
    """

    name: ClassVar[str] = "triplet"

    def __init__(self, *, margin: float = 0.2, power: int = 2) -> None:
        super().__init__()
        self.margin = check_number("margin", margin, 0, above=True)
        if power not in (1, 2):
            raise ValueError(f"power must be 1 or 2, got {power!r}")
        self._loss, self._miner = _semi_hard(self.margin, power)

    def begin(self, labels: Tensor, code_length: int, generator: Any) -> None:
        """See `Method.begin`. Raises ValueError for images with several labels."""
        check_labels(labels)
        if labels.ndim != 1:
            raise ValueError("triplet needs one label for each image, got multi-label images")

    def loss(self, output: "HashOutput", labels: Tensor, rows: Tensor) -> dict[str, Tensor]:
        """The term "triplet"."""
        outputs = output.codes
        found = self._loss(outputs, labels, self._miner(outputs, labels))
        # Of no triplets it is a constant, which has no gradient.
        return {"triplet": found if found.requires_grad else found + 0 * outputs.sum()}


def _semi_hard(margin: float, power: int) -> tuple[Any, Any]:
    """The loss and the miner. Raises ValueError if pytorch-metric-learning is not installed."""
    try:
        from pytorch_metric_learning.distances import LpDistance
        from pytorch_metric_learning.losses import TripletMarginLoss
        from pytorch_metric_learning.miners import TripletMarginMiner
    except ImportError as error:
        raise ValueError(
            "method triplet needs pytorch-metric-learning; install it with: pip install "
            "'semicon_fast[metric]'"
        ) from error
    distance = LpDistance(normalize_embeddings=True, p=2, power=power)
    miner = TripletMarginMiner(margin=margin, type_of_triplets="semihard", distance=distance)
    return TripletMarginLoss(margin=margin, distance=distance), miner
