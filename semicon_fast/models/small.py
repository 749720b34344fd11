"""A small convolutional network for images of 32 to 64 pixels and for training on a CPU."""

from typing import Any

from torch import Tensor, nn

from .base import HashModel
from .outputs import HashOutput


class SmallHashNet(HashModel):
    """Images (B, 3, S, S) -> linear outputs (B, k) and pooled features (B, 4 * width).

    Five 3x3 convolutions with BatchNorm and ReLU, two of them with stride 2, global average
    pooling, one linear layer.

    Args:
        code_length: bits k.
        width: channels of the first convolution.
    """

    network = "small"

    def __init__(self, code_length: int, width: int = 32) -> None:
        super().__init__(code_length)
        if width < 1:
            raise ValueError(f"SmallHashNet: width must be at least 1, got {width}")
        self.width = width
        self.features = nn.Sequential(
            _conv(3, width),
            _conv(width, 2 * width, stride=2),
            _conv(2 * width, 2 * width),
            _conv(2 * width, 4 * width, stride=2),
            _conv(4 * width, 4 * width),
        )
        self.feature_size = 4 * width
        self.hash = nn.Linear(4 * width, code_length)

    def options(self) -> dict[str, Any]:
        """The constructor arguments code_length and width."""
        return {"code_length": self.code_length, "width": self.width}

    def forward(self, images: Tensor) -> HashOutput:
        """images (B, 3, S, S), any S -> codes (B, k) unbounded, features (B, 4 * width)."""
        features = self.features(images).mean((2, 3))
        return HashOutput(self.hash(features), features)


def _conv(channels: int, out_channels: int, stride: int = 1) -> nn.Sequential:
    convolution = nn.Conv2d(channels, out_channels, 3, stride=stride, padding=1, bias=False)
    nn.init.kaiming_normal_(convolution.weight, mode="fan_out", nonlinearity="relu")
    return nn.Sequential(convolution, nn.BatchNorm2d(out_channels), nn.ReLU(inplace=True))
