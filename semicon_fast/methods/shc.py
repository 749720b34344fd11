"""Semantic hash centers (SHC, ACCV 2022): networks learn towards one fixed code for each class.

1. The network is trained as a classifier, whose weights say how similar the classes are.
2. Each class gets a center, by the similarities and a least distance (`centers.semantic`).
3. The network learns to give each image the center of its class.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .. import centers as codebooks
from ..centers.kinds import SIMILARITIES
from .base import check_labels, check_number
from .class_centers import CenterMethod, cosine_logits, distance_to_signs
from .similarity import add_group_sums

if TYPE_CHECKING:
    from ..models import HashModel
    from ..models.outputs import HashOutput


def center_loss(outputs: Tensor, centers: Tensor, classes: Tensor, scale: float) -> Tensor:
    """-log p_y - (sum over c != y of log(1 - p_c)) / (C - 1) of each image, (B,).

    p is the softmax over the classes of scale * cos(output, center).

    Args:
        outputs: (B, k).
        centers: (C, k) of -1 and +1, C >= 2.
        classes: int64 (B,), the images' classes y.
        scale: multiplies the cosines.
    """
    logits = cosine_logits(outputs, centers, scale)
    whole = logits.logsumexp(1, keepdim=True)
    # 1 - p loses all digits for a p near 1, which only the likeliest class can have: there, it is
    # summed over the other classes.
    top = logits.argmax(1, keepdim=True)
    other = logits.scatter(1, top, -torch.inf).logsumexp(1, keepdim=True) - whole
    against = torch.log1p(-(logits - whole).exp().scatter(1, top, 0.0)).scatter(1, top, other)
    own = classes[:, None]
    wrong = against.sum(1) - against.gather(1, own)[:, 0]
    return -(logits - whole).gather(1, own)[:, 0] - wrong / (len(centers) - 1)


class SHC(CenterMethod):
    """The three stages of SHC, as iterations of one run.

    Buffers: those of `CenterMethod`. Parameters: the classifier's weight W (C, F), its bias and the
    BatchNorm of its logits, trained in the first `classify` iterations with cross entropy +
    regulariser * mean((|W| - 1)^2), and frozen then.
    """

    name: ClassVar[str] = "shc"

    def __init__(
        self,
        *,
        classify: int = 0,
        restart: bool = True,
        centers: str = "semantic",
        similarity: str | None = None,
        similarity_kind: str = "product",
        least: int | None = None,
        sweeps: int = 20,
        scale: float | None = None,
        quantisation: float = 1e-4,
        regulariser: float = 1.0,
    ) -> None:
        """Set where the centers come from, and the weights of the terms.

        Args:
            classify: outer iterations of the first stage. 0: there is none, and the similarities
                are those of the mean features of the classes, by the network as it starts.
            restart: whether the network goes back to its first weights after `classify`
                iterations, as published, or goes on from the classifier's.
            centers: "semantic", "hadamard", "random", "greedy", or a file of `centers.save`.
            similarity: file of similarities or class features, see `centers.load_similarity`, in
                place of those that the network learns.
            similarity_kind: see `centers.class_similarity`. The logits' BatchNorm hides how long
                the rows of W are, on which "product", as published, depends.
            least: least distance of semantic centers; None: by the Gilbert-Varshamov bound.
            sweeps: see `centers.semantic`.
            scale: factor of the cosines in the center loss, > 0; None: sqrt(k), as published.
            quantisation: weight of mean((|u| - 1)^2), >= 0.
            regulariser: weight of mean((|W| - 1)^2), >= 0.
        """
        super().__init__()
        self.choose_centers(centers)
        for name, value, lowest in (("classify", classify, 0), ("sweeps", sweeps, 0)):
            if type(value) is not int or value < lowest:
                raise ValueError(f"{name} must be an int of at least {lowest}, got {value!r}")
        if least is not None and (type(least) is not int or least < 1):
            raise ValueError(f"least must be an int of at least 1, or None, got {least!r}")
        if similarity_kind not in SIMILARITIES:
            raise ValueError(
                f"similarity_kind must be one of {', '.join(SIMILARITIES)}, got {similarity_kind!r}"
            )
        if classify and (centers != "semantic" or similarity is not None):
            raise ValueError(
                "classify must be 0 where nothing is learned from the classifier: centers are "
                f"{centers!r} and similarity is {similarity!r}"
            )
        self.classify, self.restarts = classify, bool(restart)
        self.stages = (classify,) if classify else ()
        self.similarity_file = similarity
        self.similarity_kind, self.least, self.sweeps = similarity_kind, least, sweeps
        self.scale = None if scale is None else check_number("scale", scale, 0, above=True)
        self.quantisation = check_number("quantisation", quantisation, 0)
        self.regulariser = check_number("regulariser", regulariser, 0)
        self.classifies = classify > 0
        self._similarity: Tensor | None = None
        self._iteration = self._features = 0

    def begin(self, labels: Tensor, code_length: int, generator: torch.Generator) -> None:
        """See `CenterMethod.begin`. Raises ValueError for multi-label images too."""
        check_labels(labels)
        if labels.ndim != 1:
            raise ValueError("shc needs one label for each image, got multi-label images")
        super().begin(labels, code_length, generator)
        if self.similarity_file is not None:
            self._similarity = codebooks.load_similarity(
                self.similarity_file, len(self.centers), code_length, self.similarity_kind
            )

    def prepare(self, model: "HashModel", iterations: int, kept: Tensor) -> None:
        if self.classify >= iterations:
            raise ValueError(
                "classify must be below the number of outer iterations, so that one is left to "
                f"learn codes in, got classify={self.classify} and schedule.iterations={iterations}"
            )
        count, size = len(self.centers), model.feature_size
        self._features = size
        images = torch.bincount(self.labels[kept.to(self.labels.device)], minlength=count)
        if empty := (images == 0).nonzero()[:, 0].tolist():
            raise ValueError(
                f"shc needs training images of every class: {len(empty)} of {count} have none "
                f"that is not held out, the first is class {empty[0]}"
            )
        if self.classify:
            drawn = torch.rand(count, size, generator=self._generator)
            device = self.centers.device
            self.weight = nn.Parameter(((2 * drawn - 1) / size**0.5).to(device))
            self.bias = nn.Parameter(torch.zeros(count, device=device))
            self.norm = nn.BatchNorm1d(count, device=device)

    def start_iteration(self, iteration: int, rows: Tensor) -> None:
        self._iteration, self.classifies = iteration, iteration < self.classify
        for parameter in self.parameters():
            parameter.requires_grad_(self.classifies)

    def wants_features(self, iteration: int) -> bool:
        """Before the first iteration, unless it belongs to the classifier."""
        return iteration == 0 and self.classify == 0

    @torch.no_grad()
    def take_features(self, batches: "Iterable[tuple[HashOutput, Tensor]]") -> None:
        """Make the centers; `batches` is read only if they depend on class means of features."""
        if self.kind != "semantic" or self._similarity is not None:
            self._make_centers(self._similarity)
            return
        count = len(self.centers)
        sums = torch.zeros(count, self._features, dtype=torch.float64, device=self.labels.device)
        images = torch.zeros(count, dtype=torch.int64, device=self.labels.device)
        for output, rows in batches:
            classes = self.labels[rows]
            add_group_sums(sums, output.features, classes)
            images += torch.bincount(classes, minlength=count)
        self._make_centers(self._similarities(sums / images[:, None]))

    def loss(self, output: "HashOutput", labels: Tensor, rows: Tensor) -> dict[str, Tensor]:
        """The terms "class" and "weights" in the first stage, then "center" and "quantisation"."""
        if self.classifies:
            logits = F.linear(output.features, self.weight, self.bias)
            # The statistics of one image alone would make all logits 0.
            self.norm.train(len(logits) > 1)
            # The codes take no part, but every parameter must have a gradient.
            unused = 0.0 * output.codes.sum()
            return {
                "class": F.cross_entropy(self.norm(logits), labels) + unused,
                "weights": self.regulariser * (self.weight.abs() - 1).square().mean(),
            }
        scale = self.centers.shape[1] ** 0.5 if self.scale is None else self.scale
        return {
            "center": center_loss(output.codes, self.centers, labels, scale).mean(),
            "quantisation": self.quantisation * distance_to_signs(output.codes),
        }

    def share(self, images: int, batch: int) -> float | None:
        """The center loss is a mean over images; the classifier's BatchNorm couples them."""
        return None if self.classifies else images / batch

    @torch.no_grad()
    def end_iteration(self) -> None:
        """Make the centers by the classifier's weights after its last iteration."""
        if self._iteration + 1 == self.classify:
            self._make_centers(self._similarities(self.weight))

    def _similarities(self, features: Tensor) -> Tensor:
        bits = self.centers.shape[1]
        return codebooks.class_similarity(features, bits, self.similarity_kind)

    def _make_centers(self, similarity: Tensor | None) -> None:
        options = {"similarity": similarity, "least": self.least, "sweeps": self.sweeps}
        self.make_centers(**(options if self.kind == "semantic" else {}))
