"""The network of Deep Supervised Hashing (CVPR 2016): three convolutions for 32-pixel images."""

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .base import HashModel
from .outputs import HashOutput

FEATURES = 500


class WithinChannelNorm(nn.Module):
    """Local response normalisation over space instead of channels.

    x (B, C, H, W) -> x (1 + alpha mean(x^2))^-beta, with the mean over a size x size window around
    each cell. Cells outside the map count as zeros and the divisor is always size^2, as in the
    framework that the published models were trained with.
    """

    def __init__(self, size: int = 3, alpha: float = 5e-5, beta: float = 0.75) -> None:
        super().__init__()
        self.size, self.alpha, self.beta = size, alpha, beta

    def forward(self, x: Tensor) -> Tensor:
        """x (B, C, H, W) -> the same shape."""
        energy = F.avg_pool2d(x * x, self.size, stride=1, padding=self.size // 2)
        return x * (1 + self.alpha * energy).pow(-self.beta)

    def extra_repr(self) -> str:
        return f"size={self.size}, alpha={self.alpha}, beta={self.beta}"


class DSHNet(HashModel):
    """Images (B, 3, S, S) -> linear outputs (B, k) and features (B, 500): the activations of the
    first fully connected layer, after the ReLU.

    Pooling rounds sizes up (32 -> 16 -> 8 -> 4), so the input of the first linear layer has 4 x 4
    cells of 64 channels; rounding down would give 3 x 3.

    Args:
        code_length: bits k.
        image_size: side of the square input in pixels.
        extended: the network was initialised from one with shorter codes (`extend`); the learning
            rate of its last layer is then ten times higher, as in the paper's fine-tuning.
        sigmoid: the outputs are sigmoid(z) - 1/2 of the linear ones z: the relaxation that DSH's
            supplement (Table 1) compares with its regulariser, where a bit is 1 if sigmoid(z) is
            above one half. The shift changes no distance. Codes differ by 1 in a bit then, not by
            2, so that the method's margin must be set.
    """

    network = "dsh"

    def __init__(
        self,
        code_length: int,
        *,
        image_size: int = 32,
        extended: bool = False,
        sigmoid: bool = False,
    ) -> None:
        super().__init__(code_length)
        if image_size < 8:
            raise ValueError(f"DSHNet: image_size must be at least 8, got {image_size}")
        self.image_size, self.extended, self.sigmoid = image_size, extended, bool(sigmoid)
        self.conv1 = nn.Conv2d(3, 32, 5, padding=2)
        self.conv2 = nn.Conv2d(32, 32, 5, padding=2)
        self.conv3 = nn.Conv2d(32, 64, 5, padding=2)
        self.norm1, self.norm2 = WithinChannelNorm(), WithinChannelNorm()
        cells = _pooled_side(_pooled_side(_pooled_side(image_size)))
        self.fc = nn.Linear(64 * cells * cells, FEATURES)
        self.feature_size = FEATURES
        self.hash = nn.Linear(FEATURES, code_length)
        for layer in (self.conv1, self.conv2, self.conv3, self.fc, self.hash):
            _xavier(layer)

    def options(self) -> dict[str, Any]:
        """code_length, image_size, extended, and sigmoid if it is set."""
        options: dict[str, Any] = {
            "code_length": self.code_length,
            "image_size": self.image_size,
            "extended": self.extended,
        }
        return {**options, "sigmoid": True} if self.sigmoid else options

    def forward(self, images: Tensor) -> HashOutput:
        """images (B, 3, S, S), S = image_size -> codes (B, k), features (B, 500).

        Codes are unbounded, with `sigmoid` in (-1/2, 1/2).
        """
        if images.shape[-2:] != (self.image_size, self.image_size):
            raise ValueError(
                f"DSHNet: images must be {self.image_size} x {self.image_size}, "
                f"got {tuple(images.shape[-2:])}"
            )
        x = self.norm1(F.relu(F.max_pool2d(self.conv1(images), 3, 2, ceil_mode=True)))
        x = self.norm2(F.relu(F.avg_pool2d(self.conv2(x), 3, 2, ceil_mode=True)))
        x = F.avg_pool2d(F.relu(self.conv3(x)), 3, 2, ceil_mode=True)
        features = F.relu(self.fc(x.flatten(1)))
        codes = self.hash(features)
        if self.sigmoid:
            # sigmoid(z) - 1/2 with the sign of z, however small that is.
            codes = torch.tanh(codes / 2) / 2
        return HashOutput(codes, features)

    def extend(self, code_length: int) -> "DSHNet":
        """A network for longer codes, initialised from this one except for a new last layer.

        code_length must be greater than this network's, which is not changed; else ValueError.
        """
        if code_length <= self.code_length:
            raise ValueError(
                f"DSHNet.extend: code_length must be greater than {self.code_length}, "
                f"got {code_length}"
            )
        longer = DSHNet(
            code_length, image_size=self.image_size, extended=True, sigmoid=self.sigmoid
        )
        kept = {k: v for k, v in self.state_dict().items() if not k.startswith("hash.")}
        longer.load_state_dict(kept, strict=False)
        longer.preprocess = self.preprocess
        return longer.to(self.hash.weight.device, self.hash.weight.dtype)

    def parameter_groups(self, weight_decay: float) -> list[dict[str, Any]]:
        """Biases have twice the learning rate and no weight decay; after `extend` the last layer
        has ten times the learning rate."""
        last = 10.0 if self.extended else 1.0
        groups: list[dict[str, Any]] = []
        for scale, layers in (
            (1.0, (self.conv1, self.conv2, self.conv3, self.fc)),
            (last, (self.hash,)),
        ):
            weights = [layer.weight for layer in layers]
            biases = [layer.bias for layer in layers]
            groups.append({"params": weights, "weight_decay": weight_decay, "lr_scale": scale})
            groups.append({"params": biases, "weight_decay": 0.0, "lr_scale": 2 * scale})
        return groups


def _pooled_side(side: int) -> int:
    return math.ceil((side - 3) / 2) + 1


@torch.no_grad()
def _xavier(layer: nn.Conv2d | nn.Linear) -> None:
    # Xavier initialisation by fan-in only, U(+-sqrt(3 / fan_in)), as in the paper's framework.
    nn.init.kaiming_uniform_(layer.weight, nonlinearity="linear")
    assert layer.bias is not None
    layer.bias.zero_()
