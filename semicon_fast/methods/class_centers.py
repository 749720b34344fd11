"""What methods with a center for each class share: the centers, and losses that lead to them."""

from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from .. import centers as codebooks
from ..centers.kinds import KINDS
from .base import Method, check_labelled, check_labels


class CenterMethod(Method):
    """A method whose network learns to give each image the center of its class.

    Where the database may be given by its labels, its images have the centers as learned codes.
    Those of multi-label images are the signs of the sums of their classes' centers, and where a sum
    is 0 the bit of one random code that is drawn once (CSQ, centroid of multiple centers).

    Buffers: centers float32 (C, k) of -1 and +1, 0 before they are made; for multi-label images
    ties float32 (k,), the random code; and the labels of all images, which are not saved.
    """

    centers: Tensor
    ties: Tensor
    labels: Tensor

    kind: str | None = None
    """Where the centers come from, see `choose_centers`; None: the method makes its own."""

    def choose_centers(self, centers: str) -> None:
        """centers: a kind of `centers`, or a file of `centers.save`.

        Raises ValueError for anything else.
        """
        file = isinstance(centers, str) and Path(centers).is_file()
        if centers not in KINDS and not file:
            raise ValueError(
                f"centers must be one of {', '.join(KINDS)}, or a file, got {centers!r}"
            )
        self.kind = centers

    def begin(self, labels: Tensor, code_length: int, generator: torch.Generator) -> None:
        """See `Method.begin`; the centers are not made yet.

        Raises ValueError for images without a label, fewer than 2 classes or bits, more than 2^k
        classes, or a file that does not fit them.
        """
        check_labels(labels)
        check_labelled(labels, self.name)
        count = labels.shape[1] if labels.ndim == 2 else int(labels.max()) + 1
        if count < 2:
            raise ValueError(
                f"{self.name} needs training images of at least 2 classes, got {count}"
            )
        codebooks.check_size(count, code_length)
        self._generator = generator
        self.register_buffer("labels", labels.clone(), persistent=False)
        self.register_buffer("centers", torch.zeros(count, code_length, device=labels.device))
        if labels.ndim == 2:
            ties = torch.randint(0, 2, (code_length,), generator=generator)
            self.register_buffer("ties", (2.0 * ties - 1).to(labels.device))
        if self.kind is not None and self.kind not in KINDS:
            shape = tuple(codebooks.load(self.kind).shape)
            if shape != (count, code_length):
                raise ValueError(
                    f"centers of {self.kind} must be ({count}, {code_length}), got {shape}"
                )

    @torch.no_grad()
    def make_centers(self, **options: Any) -> None:
        """Make the centers of the chosen kind, with these options of its function, or read them."""
        assert self.kind is not None
        if self.kind in KINDS:
            make = getattr(codebooks, self.kind)
            self.centers.copy_(make(*self.centers.shape, self._generator, **options))
        else:
            self.centers.copy_(codebooks.load(self.kind))

    def targets(self, labels: Tensor) -> Tensor:
        """The codes of images with these labels, int64 (B,) or bool (B, C): float32 (B, k)."""
        if labels.ndim == 1:
            return self.centers[labels]
        sums = labels.to(self.centers.dtype) @ self.centers
        return torch.where(sums == 0, self.ties, sums.sign())

    @property
    def learned_codes(self) -> Tensor | None:
        """The code of each training image by its labels; None before there are centers."""
        if not hasattr(self, "centers") or not bool(self.centers.any()):
            return None
        return self.targets(self.labels)


def cosine_logits(outputs: Tensor, centers: Tensor, scale: float) -> Tensor:
    """scale * cos(output, center): outputs (B, k), centers (C, k) -> (B, C)."""
    return scale * F.normalize(outputs) @ F.normalize(centers).T


def class_shares(labels: Tensor, classes: int) -> Tensor:
    """y / |y|_1, the share of each class in an image's labels: float32 (B, C).

    labels: int64 (B,), or bool (B, C) with a label in every row.
    """
    hot = F.one_hot(labels, classes) if labels.ndim == 1 else labels
    return hot.float() / hot.sum(1, keepdim=True)


def margin_cross_entropy(
    outputs: Tensor, centers: Tensor, labels: Tensor, scale: float, margin: float
) -> Tensor:
    """Cross entropy of scale * (cos(output, center) - margin * [the image has the class]), (B,).

    The targets are the shares of the classes in an image's labels: 1 for its only class. OrthoHash
    (NeurIPS 2021) has this loss for fixed centers, CRH (AAAI 2026, Eqs. 1 and 2) for its own.

    Args:
        outputs: (B, k).
        centers: (C, k).
        labels: int64 (B,), or bool (B, C) with a label in every row.
        scale: multiplies the cosines.
        margin: by how much the cosine of an image's own class must be larger.
    """
    shares = class_shares(labels, len(centers)).to(outputs.dtype)
    logits = cosine_logits(outputs, centers, scale) - scale * margin * (shares > 0)
    return F.cross_entropy(logits, shares, reduction="none")


def distance_to_signs(codes: Tensor) -> Tensor:
    """mean((|u| - 1)^2) of relaxed codes: 0 where each is -1 or +1."""
    return (codes.abs() - 1).square().mean()
