"""Residual networks cut where SEMICON needs them: stages 1 to 3, and stage 4 as blocks."""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ..layers import ICON
from ..layers.choices import initialise_convolutions
from ..layers.residual import BasicBlock, Bottleneck


@dataclass(frozen=True)
class Spec:
    """Shape of one backbone: block, blocks and width of each stage, and its first convolution."""

    block: type[BasicBlock] | type[Bottleneck]
    blocks: tuple[int, int, int, int]
    widths: tuple[int, int, int, int] = (64, 128, 256, 512)
    small_images: bool = False

    def channels(self, stage: int) -> int:
        """Channels that stage 1 to 4 puts out."""
        return self.widths[stage - 1] * self.block.expansion


BACKBONES = {
    "resnet18": Spec(BasicBlock, (2, 2, 2, 2)),
    "resnet34": Spec(BasicBlock, (3, 4, 6, 3)),
    "resnet50": Spec(Bottleneck, (3, 4, 6, 3)),
    "resnet101": Spec(Bottleneck, (3, 4, 23, 3)),
    "tiny": Spec(BasicBlock, (1, 1, 1, 2), (32, 64, 128, 256), small_images=True),
    "micro": Spec(BasicBlock, (1, 1, 1, 2), (16, 32, 64, 128), small_images=True),
}


def spec(backbone: str) -> Spec:
    """The shape of a backbone by name; ValueError for an unknown one."""
    if backbone not in BACKBONES:
        raise ValueError(f"backbone must be one of {', '.join(BACKBONES)}, got {backbone!r}")
    return BACKBONES[backbone]


class Trunk(nn.Module):
    """Images (B, 3, S, S) -> stage 3 of a residual network, under torchvision's names.

    "tiny" and "micro" have a 3x3 first convolution of stride 2 and no pooling, so 32 to 96 pixel
    images keep 4 to 12 cells a side.
    """

    def __init__(self, backbone: str) -> None:
        super().__init__()
        shape = spec(backbone)
        kernel = 3 if shape.small_images else 7
        width = shape.widths[0]
        self.conv1 = nn.Conv2d(3, width, kernel, stride=2, padding=kernel // 2, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.Identity() if shape.small_images else nn.MaxPool2d(3, stride=2, padding=1)
        self.layer1 = _sequential(_blocks(shape, 1))
        self.layer2 = _sequential(_blocks(shape, 2))
        self.layer3 = _sequential(_blocks(shape, 3))
        initialise_convolutions(self)

    def forward(self, images: Tensor) -> Tensor:
        """images (B, 3, S, S) -> (B, C, S / 16, S / 16), rounded up; "tiny" and "micro": S / 8."""
        x = self.maxpool(self.relu(self.bn1(self.conv1(images))))
        result: Tensor = self.layer3(self.layer2(self.layer1(x)))
        return result


class Stage4(nn.Module):
    """The last stage with ICON after each of its last two blocks (after block 1 and block 2).

    Children of `layer4` are numbered as in the released network: 0, 1 blocks, 2 ICON, 3 block,
    4 ICON. Without ICON the blocks keep their numbers, so their parameters have the same names
    in every variant.

    Args:
        backbone: name in `BACKBONES`.
        icon: "two-step", "one-step" or "none".
        variant: ICON's, "paper" or "official".
    """

    def __init__(self, backbone: str, icon: str = "none", variant: str = "paper") -> None:
        super().__init__()
        shape = spec(backbone)
        channels = shape.channels(4)
        blocks = _blocks(shape, 4)
        slots: OrderedDict[str, nn.Module] = OrderedDict()
        steps = 2 if icon == "two-step" else 1
        for i, slot in enumerate(block_slots(len(blocks))):
            initialise_convolutions(blocks[i])
            slots[str(slot)] = blocks[i]
            if icon != "none" and i >= len(blocks) - 2:
                slots[str(slot + 1)] = ICON(
                    channels, icon_heads(channels), variant=variant, steps=steps
                )
        self.layer4 = nn.Sequential(slots)

    def forward(self, features: Tensor) -> Tensor:
        """features (B, C, H, W) of stage 3 -> (B, C', H / 2, W / 2), rounded up."""
        result: Tensor = self.layer4(features)
        return result

    def parts(self, features: Tensor, maps: Tensor) -> Tensor:
        """The stage on maps[:, i] * features for each i: means over the cells, (B, m, C').

        A map has one value a cell, so a 1x1 convolution of the product is the product with its
        convolution: those of the first block run once for all parts. The convolutions after them
        see the parts as one batch. In training BatchNorm and ICON see one part after the other, as
        released, so its statistics and their running means are those of a loop over the parts.

        Args:
            features: (B, C, H, W) of stage 3.
            maps: (B, m, H, W).
        """
        first, *rest = self.layer4
        inner, skip = convolved(first, features)
        if not self.training:
            # Dense in this order, so that the products keep the layout of the features.
            x = _scaled_block(first, inner, skip, maps.contiguous(), _whole)
            for module in rest:
                x = module(x)
            return pooled(x).unflatten(0, (-1, maps.shape[1]))
        count = maps.shape[1]

        def alone(module: nn.Module, x: Tensor) -> Tensor:
            return torch.cat([module(part) for part in x.chunk(count)])

        # Part after part, so that each lies together.
        x = _scaled_block(first, inner, skip, maps, alone, by_part=True)
        for module in rest:
            x = alone(module, x) if isinstance(module, ICON) else _block(module, x, alone)
        return pooled(x).unflatten(0, (count, -1)).transpose(0, 1)


def convolved(block: nn.Module, features: Tensor) -> tuple[Tensor, Tensor]:
    """What a stage's first block makes of its input by 1x1 convolutions alone: (inner, skip)."""
    assert isinstance(block, (BasicBlock, Bottleneck)) and block.downsample is not None
    inner = block.conv1(features) if isinstance(block, Bottleneck) else features
    return inner, block.downsample[0](features)


Norm = Callable[[nn.Module, Tensor], Tensor]


def _whole(module: nn.Module, x: Tensor) -> Tensor:
    result: Tensor = module(x)
    return result


def _scaled_block(
    block: nn.Module,
    inner: Tensor,
    skip: Tensor,
    maps: Tensor,
    norm: Norm,
    by_part: bool = False,
) -> Tensor:
    """The rest of the block for maps * features, (B m, C', H / 2, W / 2), image after image or
    part after part. norm: how a BatchNorm is called."""
    assert isinstance(block, (BasicBlock, Bottleneck)) and block.downsample is not None
    x = times(maps, inner, by_part)
    if isinstance(block, Bottleneck):
        x = _after_first(block, block.relu(norm(block.bn1, x)), norm)
    else:
        x = _after_first(block, block.relu(norm(block.bn1, block.conv1(x))), norm)
    step = block.stride
    skip = times(maps[:, :, ::step, ::step], skip, by_part)
    return block.relu(x + norm(block.downsample[1], skip))


def _block(block: nn.Module, x: Tensor, norm: Norm) -> Tensor:
    """A block without down-sampling, its BatchNorm called by `norm`."""
    assert isinstance(block, (BasicBlock, Bottleneck)) and block.downsample is None
    y = block.relu(norm(block.bn1, block.conv1(x)))
    return block.relu(_after_first(block, y, norm) + x)


def _after_first(block: BasicBlock | Bottleneck, x: Tensor, norm: Norm) -> Tensor:
    """The convolutions of a block after its first, each with its BatchNorm."""
    x = norm(block.bn2, block.conv2(x))
    return norm(block.bn3, block.conv3(block.relu(x))) if isinstance(block, Bottleneck) else x


def times(maps: Tensor, features: Tensor, by_part: bool = False) -> Tensor:
    """(B, m, H, W), (B, C, H, W) -> (B m, C, H, W), each map times all channels; image after image,
    or all images of a part after those of the part before."""
    if by_part:
        # Dense in this order, so that the products keep the layout of the features.
        first = maps.transpose(0, 1).contiguous()
        return (first.unsqueeze(2) * features.unsqueeze(0)).flatten(0, 1)
    return (maps.unsqueeze(2) * features.unsqueeze(1)).flatten(0, 1)


def icon_heads(channels: int) -> int:
    """Groups of ICON's first step in the released network: C' / 64, at least 16."""
    return max(channels // 64, 16)


def block_slots(blocks: int) -> list[int]:
    """Numbers of the stage's blocks inside `Stage4.layer4`: [0, 1, 3] for three blocks."""
    return [i + max(0, i - (blocks - 2)) for i in range(blocks)]


def _blocks(shape: Spec, stage: int) -> list[nn.Module]:
    channels = shape.widths[0] if stage == 1 else shape.channels(stage - 1)
    width, out_channels = shape.widths[stage - 1], shape.channels(stage)
    blocks: list[nn.Module] = []
    for i in range(shape.blocks[stage - 1]):
        stride = 2 if i == 0 and stage > 1 else 1
        project = None
        if stride != 1 or channels != out_channels:
            project = nn.Sequential(
                nn.Conv2d(channels, out_channels, 1, stride=stride, bias=False),
                nn.BatchNorm2d(out_channels),
            )
        blocks.append(shape.block(channels, width, stride, project))
        channels = out_channels
    return blocks


def _sequential(blocks: list[nn.Module]) -> nn.Sequential:
    return nn.Sequential(*blocks)


def pooled(features: Tensor) -> Tensor:
    """(B, C, H, W) -> (B, C), the mean over the cells."""
    return torch.mean(features, dim=(2, 3))
