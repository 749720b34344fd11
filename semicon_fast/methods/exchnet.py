"""ExchNet's objective (ECCV 2020): diverse parts, exchanged for the anchors of their classes.

One outer iteration is that of Algorithm 1 (supplement): (a) the network is trained with codes V
and anchors C fixed, (b) the codes are updated bit by bit as in `asymmetric.py`, (c) the anchors
become the class means of the part features. With f_ij the feature of part j of image i, F_ij its
map before pooling, H the Hellinger distance and c the class of an image, (a) minimises the terms of
the asymmetric objective plus ::

    spatial    mean_i [1 - mean_{j<l} H(softmax over cells of F_ij, ... of F_il)]
    channel    mean_i max(0, t - mean_{j<l} H(softmax over channels of f_ij, ... of f_il))
    alignment  |f_ij - C_{c(i) j}| / batch, over all parts that are not exchanged

where the last one, like the exchange, needs anchors and begins after the iteration `align`. In the
exchange each f_ij is replaced by C_{c(i) j} with a probability of 1/2 before the linear layer.
"""

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor

from .asymmetric import AsymmetricMethod
from .base import check_labelled, check_labels, check_number
from .similarity import add_group_sums

if TYPE_CHECKING:
    from ..models import HashModel
    from ..models.outputs import HashOutput

ANCHORS = ("pass", "running")


class ExchNetObjective(AsymmetricMethod):
    """ExchNet's objective, for the network `ExchNet`.

    Buffers, in addition to those of `AsymmetricMethod`: anchors float32 (C, m, F); anchor_images
    float64 (C,), how many images an anchor is the mean of, 0 for a class without an anchor, whose
    images are neither exchanged nor aligned; with anchors="running" also sums float64 (C, m F) and
    images float64 (C,) of the current iteration.
    """

    name: ClassVar[str] = "exchnet"

    classes: Tensor
    anchors: Tensor
    anchor_images: Tensor
    sums: Tensor
    images: Tensor

    def __init__(
        self,
        *,
        gamma: float = 0.0,
        beta: float = 1.0,
        spatial: float = 1.0,
        channel: float = 1.0,
        alignment: float = 1.0,
        threshold: float = 0.4,
        squared: bool = False,
        align: int | None = 35,
        exchange_probability: float = 0.5,
        anchors: str = "pass",
        start: str = "normal",
    ) -> None:
        """Set the weights of the terms, and when and how parts are exchanged.

        Args:
            gamma: weight of the quantisation term, >= 0. It is 0 by default, which also removes
                the term from the code update, as in the published runs; 200 as in SEMICON.
            beta: weight of the similarity term, >= 0.
            spatial: weight of the spatial diversity, >= 0.
            channel: weight of the channel diversity, >= 0.
            alignment: weight of the alignment term, >= 0.
            threshold: t, the Hellinger distance above which channels are diverse enough, >= 0.
            squared: square the norm of the alignment term, whose exact minimum over C is then the
                class means. The default is the plain norm, since the published results are its:
                its gradient has a norm of at most 1 / batch however far the features are from
                their anchors, where that of the square grows with the distance and with the number
                of features.
            align: outer iteration, counted from 1, after which the first anchors are computed; the
                following ones exchange and align. It must be below the number of iterations. None:
                never.
            exchange_probability: probability that a part is replaced by its anchor, 0 to 1.
            anchors: "pass": anchors are class means of a pass over the training images in
                evaluation mode before each iteration that exchanges, as published. "running": they
                are means over the preceding iteration's own batches, which costs no pass, but the
                features are those of augmented images and of the network while it changed.
            start: codes before the first update, "normal" (standard normal values) or "zeros".
        """
        super().__init__(gamma=gamma, beta=beta, start=start)
        self.spatial = check_number("spatial", spatial, 0)
        self.channel = check_number("channel", channel, 0)
        self.alignment = check_number("alignment", alignment, 0)
        self.threshold = check_number("threshold", threshold, 0)
        self.squared = bool(squared)
        if align is not None and (type(align) is not int or align < 1):
            raise ValueError(f"align must be an int of at least 1, or None, got {align!r}")
        if not 0 <= exchange_probability <= 1:
            raise ValueError(
                f"exchange_probability must be from 0 to 1, got {exchange_probability!r}"
            )
        if anchors not in ANCHORS:
            raise ValueError(f"anchors must be one of {', '.join(ANCHORS)}, got {anchors!r}")
        self.align, self.exchange_probability = align, float(exchange_probability)
        self.running = anchors == "running"
        self.exchanging = self._collecting = False
        self._replaced: Tensor | None = None
        self._generator = torch.Generator()

    def begin(self, labels: Tensor, code_length: int, generator: torch.Generator) -> None:
        """See `Method.begin`. The class of an image with several labels is its first one.

        Raises ValueError for fewer than two classes, images without a label, or fewer than 2 bits.
        """
        check_labels(labels)
        if code_length < 2:
            raise ValueError(f"code_length must be at least 2 for exchnet, got {code_length}")
        classes = _classes(labels)
        if int(classes.max()) < 1:
            raise ValueError("exchnet needs training images of at least 2 classes, got 1")
        super().begin(labels, code_length, generator)
        self._generator = generator
        self.register_buffer("classes", classes, persistent=False)

    def prepare(self, model: "HashModel", iterations: int, kept: Tensor) -> None:
        if model.part_shape is None:
            raise ValueError(
                "exchnet exchanges the part features of its own network, set model.network=exchnet;"
                f" network {model.network!r} has none to exchange"
            )
        if self.align is not None and self.align >= iterations:
            raise ValueError(
                "align must be below the number of outer iterations, so that one is left to "
                f"exchange parts in, got align={self.align} and schedule.iterations={iterations} "
                "(align=null: never exchange)"
            )
        count = int(self.classes.max()) + 1
        left = torch.bincount(self.classes[kept.to(self.classes.device)], minlength=count)
        if empty := int((left == 0).sum()):
            image = int((left[self.classes] == 0).nonzero()[0])
            raise ValueError(
                f"{empty} of {count} classes, among them that of training image {image}, have no "
                "image left to compute anchors from, since all are held out; use another "
                "selection.fraction, or selection.mode=last"
            )
        device, shape = self.codes.device, model.part_shape
        self.register_buffer("anchors", torch.zeros(count, *shape, device=device))
        self.register_buffer("anchor_images", self._per_class())
        if self.running:
            self.register_buffer("sums", self._per_class(shape[0] * shape[1]))
            self.register_buffer("images", self._per_class())

    def wants_features(self, iteration: int) -> bool:
        return not self.running and self.align is not None and iteration >= self.align

    @torch.no_grad()
    def take_features(self, batches: "Iterable[tuple[HashOutput, Tensor]]") -> None:
        """The anchors: class means of the part features of these images."""
        sums = self._per_class(self.anchors[0].numel())
        images = self._per_class()
        for output, rows in batches:
            self._add_parts(sums, images, output, rows)
        self._set_anchors(sums, images)

    def start_iteration(self, iteration: int, rows: Tensor) -> None:
        super().start_iteration(iteration, rows)
        if not hasattr(self, "anchors"):
            raise RuntimeError("ExchNetObjective: call prepare(model, ...) first")
        after = None if self.align is None else iteration - self.align
        self.exchanging = after is not None and after >= 0
        self._collecting = self.running and after is not None and after >= -1
        if self.running:
            self.sums.zero_()
            self.images.zero_()

    def network_inputs(self, rows: Tensor) -> dict[str, Tensor]:
        """The anchors (B, m, F) of the images' classes, and which parts they replace, bool (B, m);
        nothing before the first iteration that exchanges."""
        if not self.exchanging:
            return {}
        classes = self.classes[rows.to(self.classes.device)]
        shape = len(rows), self.anchors.shape[1]
        drawn = torch.rand(shape, generator=self._generator) < self.exchange_probability
        self._replaced = drawn.to(classes.device) & (self.anchor_images[classes] > 0)[:, None]
        return {"anchors": self.anchors[classes], "replaced": self._replaced}

    def loss(self, output: "HashOutput", labels: Tensor, rows: Tensor) -> dict[str, Tensor]:
        """The terms "hash", "quantisation", "spatial", "channel" and "alignment"."""
        parts, part_maps = output.parts, output.part_maps
        assert parts is not None and part_maps is not None
        terms = super().loss(output, labels, rows)
        terms["spatial"] = self.spatial * (1 - mean_hellinger(part_maps.flatten(2))).mean()
        lacking = (self.threshold - mean_hellinger(parts)).clamp(min=0)
        terms["channel"] = self.channel * lacking.mean()
        terms["alignment"] = self.alignment * self._alignment(parts, rows)
        if self._collecting:
            self._add_parts(self.sums, self.images, output, rows)
        return terms

    def share(self, images: int, batch: int) -> float | None:
        """None: the norm of the alignment term is over a whole batch."""
        return None

    def exchange(self, total: Callable[[Tensor], Tensor]) -> None:
        """Nothing: every process has computed the loss of whole batches."""

    def end_iteration(self) -> None:
        """The code update, and with anchors="running" the anchors of the next iteration."""
        super().end_iteration()
        if self._collecting:
            self._set_anchors(self.sums, self.images)

    def _alignment(self, parts: Tensor, rows: Tensor) -> Tensor:
        if not self.exchanging:
            return parts.new_zeros(())
        classes = self.classes[rows]
        aligned = (self.anchor_images[classes] > 0)[:, None, None]
        if self._replaced is not None:
            aligned = aligned & ~self._replaced[:, :, None]
            self._replaced = None
        # torch's norm has a gradient of 0 at 0, where that of a square root would be infinite.
        norm = torch.linalg.vector_norm(torch.where(aligned, parts - self.anchors[classes], 0.0))
        return (norm.square() if self.squared else norm) / len(rows)

    @torch.no_grad()
    def _add_parts(self, sums: Tensor, images: Tensor, output: "HashOutput", rows: Tensor) -> None:
        assert output.parts is not None
        classes = self.classes[rows]
        add_group_sums(sums, output.parts.detach().flatten(1), classes)
        images += torch.bincount(classes, minlength=len(images))

    def _set_anchors(self, sums: Tensor, images: Tensor) -> None:
        """Class means; a class without images keeps its anchor, if it has one."""
        found = images > 0
        means = (sums[found] / images[found, None]).unflatten(1, self.anchors.shape[1:])
        self.anchors[found] = means.to(self.anchors.dtype)
        self.anchor_images[found] = images[found]

    def _per_class(self, *shape: int) -> Tensor:
        count = int(self.classes.max()) + 1
        return torch.zeros(count, *shape, dtype=torch.float64, device=self.codes.device)


def mean_hellinger(values: Tensor) -> Tensor:
    """The mean Hellinger distance of all pairs of m >= 2 distributions softmax(values).

    values: (B, m, n). Returns (B,) in [0, 1]. The roots of the probabilities are
    exp(log_softmax / 2), so that the gradient stays finite where a probability is 0.
    """
    roots = (values.log_softmax(2) / 2).exp()
    one, other = torch.triu_indices(values.shape[1], values.shape[1], 1, device=values.device)
    distances = torch.linalg.vector_norm(roots[:, one] - roots[:, other], dim=2)
    return distances.mean(1) / 2**0.5


def _classes(labels: Tensor) -> Tensor:
    """The class of each image, int64 (N,) from 0 without gaps: its (first) label."""
    check_labelled(labels, "exchnet")
    if labels.ndim == 2:
        labels = labels.int().argmax(1)
    return torch.unique(labels, return_inverse=True)[1]
