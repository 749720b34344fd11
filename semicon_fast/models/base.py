"""Base class of the hashing networks: configuration, bit groups, encoding to packed codes."""

from typing import Any, ClassVar, overload

import numpy as np
import torch
from torch import Tensor, nn

from ..codes import code_bytes, pack_codes
from .outputs import HashOutput


class HashModel(nn.Module):
    """Base class of hashing networks. A subclass sets `network` and defines `forward`, `options`.

    Attributes:
        network: name in the registry, the "network" entry of `config`.
        code_length: number of bits k.
        bit_groups: the columns of the codes that belong to each branch, in order.
        preprocess: the `Transform.config()` that the network was trained with, None if unknown.
        decodes: whether `forward` decodes features from the codes in training, see `A2Net`.
        feature_size: F of the features (B, F) in the output of `forward`.
        part_shape: (m, F) of the part features that `forward` can exchange for anchors, None if it
            takes none, see `ExchNet`.
    """

    network: ClassVar[str]
    decodes: ClassVar[bool] = False
    feature_size: int

    def __init__(self, code_length: int) -> None:
        super().__init__()
        self.code_length = check_code_length(code_length)
        self.bit_groups: dict[str, slice] = {"global": slice(0, code_length)}
        self.preprocess: dict[str, Any] | None = None
        self.part_shape: tuple[int, int] | None = None

    def forward(self, images: Tensor) -> HashOutput:
        """images (B, 3, S, S) float -> `HashOutput`."""
        raise NotImplementedError

    def options(self) -> dict[str, Any]:
        """The constructor arguments that rebuild this network, JSON-serialisable, no weights."""
        raise NotImplementedError

    def config(self) -> dict[str, Any]:
        """{"network": name, **options}; `models.build` is the inverse."""
        return {"network": self.network, **self.options()}

    def parameter_groups(self, weight_decay: float) -> list[dict[str, Any]]:
        """Parameter groups for an optimiser; all parameters have weight decay, as in SEMICON.

        Each group has "params", "weight_decay" and "lr_scale", by which the caller multiplies its
        learning rate.
        """
        return [{"params": list(self.parameters()), "weight_decay": weight_decay, "lr_scale": 1.0}]

    @overload
    def encode(self, images: Tensor, batch_size: int | None = None) -> Tensor: ...

    @overload
    def encode(
        self, images: "np.ndarray[Any, Any]", batch_size: int | None = None
    ) -> "np.ndarray[Any, Any]": ...

    def encode(self, images: Any, batch_size: int | None = None) -> Any:
        """Binary codes of preprocessed images, in evaluation mode and without gradients.

        Args:
            images: floating point (B, 3, H, W), normalised as in training (see `preprocess`); a
                torch tensor on any device, or a numpy array.
            batch_size: images per forward pass, None for all at once.

        Returns:
            packed codes, uint8 (B, ceil(k/8)), of the same array type and device as `images`.

        Raises:
            ValueError: wrong shape or batch size, or outputs that are not finite.
            TypeError: not a floating-point array.
        """
        batch = _checked_images(images)
        if batch_size is not None and batch_size < 1:
            raise ValueError(f"encode: batch_size must be at least 1 or None, got {batch_size}")
        modes = [(module, module.training) for module in self.modules()]
        self.eval()
        try:
            with torch.inference_mode():
                codes = self._encode_batches(batch, batch_size or max(len(batch), 1))
        finally:
            for module, training in modes:
                module.training = training
        if isinstance(images, np.ndarray):
            return codes.cpu().numpy()
        # The copy turns the inference tensor into a normal tensor.
        return codes.to(batch.device).clone()

    def _encode_batches(self, images: Tensor, batch_size: int) -> Tensor:
        like = next(self.parameters())
        pieces = []
        for start in range(0, len(images), batch_size):
            batch = images[start : start + batch_size].to(like.device, like.dtype)
            codes = self(batch).codes
            if not bool(torch.isfinite(codes).all()):
                raise ValueError(
                    "encode: the network's outputs are not finite; its weights or the images "
                    f"contain NaN or infinity (images {start} to {start + len(batch) - 1})"
                )
            pieces.append(pack_codes(codes >= 0))
        if not pieces:
            return torch.empty(0, code_bytes(self.code_length), dtype=torch.uint8)
        return torch.cat(pieces)


def check_code_length(code_length: int) -> int:
    """`code_length`, if it is an int of at least 1. Raises TypeError, ValueError."""
    if not isinstance(code_length, int) or isinstance(code_length, bool):
        raise TypeError(f"code_length must be an int, got {type(code_length).__name__}")
    if code_length < 1:
        raise ValueError(f"code_length must be at least 1, got {code_length}")
    return code_length


def _checked_images(images: Any) -> Tensor:
    if not isinstance(images, (Tensor, np.ndarray)):
        raise TypeError(
            f"encode: images must be a torch tensor or a numpy array, got {type(images).__name__}"
        )
    if isinstance(images, np.ndarray):
        tensor = torch.from_numpy(np.require(images, requirements=["C", "W"]))
    else:
        tensor = images
    if tensor.ndim != 4 or tensor.shape[1] != 3:
        raise ValueError(f"encode: images must be (B, 3, H, W), got {tuple(tensor.shape)}")
    if not tensor.is_floating_point():
        raise TypeError(
            "encode: images must be floating point, normalised by the transform the network was "
            f"trained with, got {tensor.dtype}"
        )
    return tensor
