"""HashNet (ICCV 2017): the sign is approached by steeper and steeper tanh while training."""

from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor

from .base import Method, check_labels, check_number
from .pairwise import OutputBank, logistic_loss, loss_between_halves, similar_pairs

if TYPE_CHECKING:
    from ..models.outputs import HashOutput

PAIRS = ("halves", "bank")
WEIGHTS = ("class", "balanced")


class HashNet(Method):
    """Weighted maximum likelihood of the pairwise similarities, learned by continuation.

    With h = tanh(b u) of the network's outputs u, a pair is similar with a probability of
    sigmoid(alpha h_i . h_j), and the loss is a weighted mean of log(1 + e^t) - s t over the pairs.
    The factor b grows while training: b = sqrt(1 + floor(batches / every)), which is the released
    code's sqrt(1 + 0.005 batches), changed every 200 batches.

    The released code draws two independent batches and takes the pairs between them. Here they are
    the first and the second half of one batch, which is in random order: a published batch of 36
    is a `schedule.batch_size` of 72.

    The network's outputs should be linear (no tanh). Two images are similar if they share a label.

    Buffers: batches int64 (), the number of batches so far; with pairs="bank" those of
    `OutputBank`, as `bank`, with h in place of the outputs.
    """

    name: ClassVar[str] = "hashnet"

    batches: Tensor
    bank: OutputBank

    def __init__(
        self,
        *,
        alpha: float | None = None,
        every: int = 200,
        weights: str = "class",
        class_weight: float | None = None,
        pairs: str = "halves",
    ) -> None:
        """Set the weights of the pairs, and how fast the tanh becomes steeper.

        Args:
            alpha: factor of the inner products, > 0; None: 10 / k, as released.
            every: batches after which b becomes larger, >= 1.
            weights: "class": similar pairs have the weight `class_weight`, dissimilar ones 1, as
                released. "balanced": all similar pairs together count as much as all dissimilar
                ones, |S| / |S_1| and |S| / |S_0|, as in the paper.
            class_weight: weight of similar pairs, > 0. None: the number of classes, or 1 for
                multi-label images, as released for ImageNet's 100 classes and for COCO.
            pairs: "halves": between the two halves of a batch. "bank": between a batch and the
                latest h of all training images, as in DPSH and in the common re-implementations.
        """
        super().__init__()
        self.given_alpha = None if alpha is None else check_number("alpha", alpha, 0, above=True)
        if type(every) is not int or every < 1:
            raise ValueError(f"every must be an int of at least 1, got {every!r}")
        if weights not in WEIGHTS:
            raise ValueError(f"weights must be one of {', '.join(WEIGHTS)}, got {weights!r}")
        if class_weight is not None:
            check_number("class_weight", class_weight, 0, above=True)
            if weights != "class":
                raise ValueError(
                    f'class_weight must be left out unless weights is "class", got {class_weight!r}'
                )
        if pairs not in PAIRS:
            raise ValueError(f"pairs must be one of {', '.join(PAIRS)}, got {pairs!r}")
        self.every, self.weights, self.pairs = every, weights, pairs
        self.class_weight = class_weight

    def begin(self, labels: Tensor, code_length: int, generator: torch.Generator) -> None:
        check_labels(labels)
        self.alpha = 10 / code_length if self.given_alpha is None else self.given_alpha
        self.weight: float | None = None
        if self.weights == "class":
            classes = int(labels.max()) + 1 if labels.ndim == 1 else 1
            self.weight = float(classes if self.class_weight is None else self.class_weight)
        steps = torch.zeros((), dtype=torch.int64, device=labels.device)
        self.register_buffer("batches", steps)
        if self.pairs == "bank":
            self.bank = OutputBank(labels, code_length)

    def loss(self, output: "HashOutput", labels: Tensor, rows: Tensor) -> dict[str, Tensor]:
        """The term "pair", which is 0 for a batch of one image with pairs="halves"."""
        self.batches += 1
        scale = torch.sqrt(1.0 + self.batches // self.every)
        codes = torch.tanh(scale * output.codes)
        if self.pairs == "bank":
            self.bank.store(codes, rows)
            products = self.alpha * codes @ self.bank.outputs.T
            similar, seen = similar_pairs(labels, self.bank.labels), self.bank.seen
            return {"pair": logistic_loss(products, similar, weight=self.weight, counted=seen)}
        return {"pair": loss_between_halves(codes, labels, self.alpha, self.weight)}
