"""Residual networks split into stages 1 to 3 (`Trunk`) and stage 4 (`Stage4`), as in SEMICON."""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torchvision.models.resnet import BasicBlock, Bottleneck

from ..layers import ICON
from ..layers.choices import initialise_convolutions


@dataclass(frozen=True)
class Spec:
    """Architecture of one backbone.

    Attributes:
        block: residual block.
        blocks: number of blocks in each of the four stages.
        widths: base width of each stage.
        small_images: a 3x3 first convolution and no max pooling, for small images.
        stride: stride of the first convolution.
    """

    block: type[BasicBlock] | type[Bottleneck]
    blocks: tuple[int, int, int, int]
    widths: tuple[int, int, int, int] = (64, 128, 256, 512)
    small_images: bool = False
    stride: int = 2

    def channels(self, stage: int) -> int:
        """Output channels of stage 1, 2, 3 or 4."""
        return self.widths[stage - 1] * self.block.expansion


BACKBONES = {
    "resnet18": Spec(BasicBlock, (2, 2, 2, 2)),
    "resnet34": Spec(BasicBlock, (3, 4, 6, 3)),
    "resnet50": Spec(Bottleneck, (3, 4, 6, 3)),
    "resnet101": Spec(Bottleneck, (3, 4, 23, 3)),
    "resnet10-32": Spec(BasicBlock, (1, 1, 1, 1), (48, 96, 192, 384), small_images=True, stride=1),
    "tiny": Spec(BasicBlock, (1, 1, 1, 2), (32, 64, 128, 256), small_images=True),
    "micro": Spec(BasicBlock, (1, 1, 1, 2), (16, 32, 64, 128), small_images=True),
}


def spec(backbone: str) -> Spec:
    """The architecture of a backbone by name; ValueError for an unknown one."""
    if backbone not in BACKBONES:
        raise ValueError(f"backbone must be one of {', '.join(BACKBONES)}, got {backbone!r}")
    return BACKBONES[backbone]


class Trunk(nn.Module):
    """Stages 1 to 3 of a residual network, with torchvision's parameter names.

    "tiny" and "micro" have a 3x3 first convolution of stride 2 and no max pooling, so that images
    of 32 to 96 pixels give feature maps of 4 to 12 cells a side. "resnet10-32", for images of 32
    pixels, has it of stride 1.
    """

    def __init__(self, backbone: str) -> None:
        super().__init__()
        shape = spec(backbone)
        kernel = 3 if shape.small_images else 7
        width = shape.widths[0]
        self.conv1 = nn.Conv2d(
            3, width, kernel, stride=shape.stride, padding=kernel // 2, bias=False
        )
        self.bn1 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.Identity() if shape.small_images else nn.MaxPool2d(3, stride=2, padding=1)
        self.layer1 = _sequential(_blocks(shape, 1))
        self.layer2 = _sequential(_blocks(shape, 2))
        self.layer3 = _sequential(_blocks(shape, 3))
        initialise_convolutions(self)

    def forward(self, images: Tensor) -> Tensor:
        """images (B, 3, S, S) -> (B, C, S / 16, S / 16), rounded up; "tiny" and "micro": S / 8;
        "resnet10-32": S / 4."""
        x = self.maxpool(self.relu(self.bn1(self.conv1(images))))
        result: Tensor = self.layer3(self.layer2(self.layer1(x)))
        return result


class Stage4(nn.Module):
    """Stage 4 of a residual network with ICON after each of its last two blocks.

    Children of `layer4` are numbered as in the released network: 0 and 1 are blocks, 2 is ICON, 3
    is a block, 4 is ICON. Without ICON the blocks keep these numbers, so that their parameters have
    the same names in every variant.

    Args:
        backbone: name in `BACKBONES`.
        icon: "two-step", "one-step" or "none".
        variant: variant of ICON, "paper" or "official".
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
        """Features of stage 3 (B, C, H, W) -> (B, C', H / 2, W / 2), rounded up."""
        result: Tensor = self.layer4(features)
        return result

    def parts(self, features: Tensor, maps: Tensor) -> Tensor:
        """The part features of `refine_parts`, averaged over the cells: (B, m, C').

        In training, BatchNorm and ICON process one part after the other as in SEMICON's released
        code, so that batch statistics and running means equal those of a loop over the parts.
        """
        refined = self.refine_parts(features, maps, by_part=self.training)
        return per_image(global_average_pool(refined), maps.shape[1], self.training)

    def refine_parts(self, features: Tensor, maps: Tensor, by_part: bool = False) -> Tensor:
        """Apply the stage to maps[:, i] * features for each part i.

        A map has one value per cell, so a 1x1 convolution commutes with the product. The 1x1
        convolutions at the input of the first block therefore run once for all parts; the later
        ones process all parts as one batch.

        Args:
            features: features of stage 3, (B, C, H, W).
            maps: attention maps, (B, m, H, W).
            by_part: call BatchNorm and ICON for one part after the other, with the statistics of
                each in training; otherwise once, on all parts of all images.

        Returns:
            (B m, C', h, w); the first axis is ordered by (image, part), with by_part by (part,
            image), see `per_image`.
        """
        first, *rest = self.layer4
        inner, skip = shared_convolutions(first, features)
        if not by_part:
            # Contiguous maps, so that the products keep the memory format of the features.
            x = _scaled_block(first, inner, skip, maps.contiguous(), _call_module)
            for module in rest:
                x = module(x)
            return x
        count = maps.shape[1]

        def per_part(module: nn.Module, x: Tensor) -> Tensor:
            return torch.cat([module(part) for part in x.chunk(count)])

        # Ordered by part, so that each part is contiguous in memory.
        x = _scaled_block(first, inner, skip, maps, per_part, by_part=True)
        for module in rest:
            x = per_part(module, x) if isinstance(module, ICON) else _block(module, x, per_part)
        return x


def per_image(values: Tensor, parts: int, by_part: bool = False) -> Tensor:
    """Values of the parts of all images, (B m, ...) in the order of `refine_parts`: (B, m, ...)."""
    if by_part:
        return values.unflatten(0, (parts, -1)).transpose(0, 1)
    return values.unflatten(0, (-1, parts))


def shared_convolutions(block: nn.Module, features: Tensor) -> tuple[Tensor, Tensor]:
    """The input of a stage's first block after those of its convolutions that commute with a map.

    Returns:
        inner: after conv1 of a Bottleneck; the unchanged input of a BasicBlock, whose conv1 is 3x3.
        skip: after the 1x1 convolution of the shortcut.
    """
    assert isinstance(block, (BasicBlock, Bottleneck)) and block.downsample is not None
    inner = block.conv1(features) if isinstance(block, Bottleneck) else features
    return inner, block.downsample[0](features)


Norm = Callable[[nn.Module, Tensor], Tensor]


def _call_module(module: nn.Module, x: Tensor) -> Tensor:
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
    """The rest of a stage's first block on maps * features, (B m, C', H / 2, W / 2).

    Args:
        block: the block.
        inner: first result of `shared_convolutions`.
        skip: second result of `shared_convolutions`.
        maps: (B, m, H, W).
        norm: calls a BatchNorm on all parts.
        by_part: order of the result's first axis, see `multiply_maps`.
    """
    assert isinstance(block, (BasicBlock, Bottleneck)) and block.downsample is not None
    x = multiply_maps(maps, inner, by_part)
    if isinstance(block, Bottleneck):
        x = _later_convolutions(block, block.relu(norm(block.bn1, x)), norm)
    else:
        x = _later_convolutions(block, block.relu(norm(block.bn1, block.conv1(x))), norm)
    step = block.stride
    skip = multiply_maps(maps[:, :, ::step, ::step], skip, by_part)
    return block.relu(x + norm(block.downsample[1], skip))


def _block(block: nn.Module, x: Tensor, norm: Norm) -> Tensor:
    """A block without down-sampling whose BatchNorms are called through `norm`."""
    assert isinstance(block, (BasicBlock, Bottleneck)) and block.downsample is None
    y = block.relu(norm(block.bn1, block.conv1(x)))
    return block.relu(_later_convolutions(block, y, norm) + x)


def _later_convolutions(block: BasicBlock | Bottleneck, x: Tensor, norm: Norm) -> Tensor:
    """The convolutions of a block after the first one, each with its BatchNorm."""
    x = norm(block.bn2, block.conv2(x))
    return norm(block.bn3, block.conv3(block.relu(x))) if isinstance(block, Bottleneck) else x


def multiply_maps(maps: Tensor, features: Tensor, by_part: bool = False) -> Tensor:
    """Product of each map with all channels: (B, m, H, W), (B, C, H, W) -> (B m, C, H, W).

    The first axis of the result is ordered by (image, part), with by_part by (part, image).
    """
    if by_part:
        # Contiguous maps, so that the products keep the memory format of the features.
        first = maps.transpose(0, 1).contiguous()
        return (first.unsqueeze(2) * features.unsqueeze(0)).flatten(0, 1)
    return (maps.unsqueeze(2) * features.unsqueeze(1)).flatten(0, 1)


def icon_heads(channels: int) -> int:
    """Heads of ICON (groups of its first step) in the released network: C' / 64, at least 16."""
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


def global_average_pool(features: Tensor) -> Tensor:
    """Global average pooling: (B, C, H, W) -> (B, C)."""
    return torch.mean(features, dim=(2, 3))
