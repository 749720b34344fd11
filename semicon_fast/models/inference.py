"""A network as it runs when nothing is learned: BatchNorm inside the convolutions, one layout."""

import copy
from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from ..layers.icon import is_plain
from ..layers.residual import BasicBlock, Bottleneck
from .backbones import Trunk
from .base import HashModel
from .semicon import SEMICON

# Four images of 224 pixels: a third-level cache keeps the maps of their first layers (AMD EPYC
# Zen 3, 32 MiB: a ResNet-50's trunk in 0.90 of the time of 16 images at once).
FEW_PIXELS = 4 * 224 * 224


def for_inference(model: HashModel) -> HashModel:
    """A copy in evaluation mode, channels-last, with BatchNorm folded into the convolutions, and
    on the CPU with the trunk on a few images at a time.

    W' = W s, b' = b - mean s + bias, s = weight / sqrt(var + eps): the same function by fewer
    roundings, so a bit can differ from the model's own only where the code lies within their error
    of 0. Left as they are: a convolution or BatchNorm with a hook, and what is not a plain
    sequence of the two (SEM's heads, BatchNorm inside ICON, what `Stage4.parts` runs around the
    product with the maps).
    """
    model = copy.deepcopy(model).eval().requires_grad_(False)
    apart = {id(module) for module in _around_maps(model)}
    for owner, first, second in list(_pairs(model)):
        conv, norm = owner.get_submodule(first), owner.get_submodule(second)
        if id(norm) not in apart and _foldable(conv, norm):
            assert isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d)
            setattr(owner, first, fuse_conv_bn_eval(conv, norm))
            setattr(owner, second, nn.Identity())
    for name, module in list(model.named_children()):
        if isinstance(module, Trunk):
            setattr(model, name, _FewAtATime(module))
    return model.to(memory_format=torch.channels_last)


class _FewAtATime(nn.Module):
    """The trunk, whose images have nothing to do with each other, in small batches on the CPU."""

    def __init__(self, trunk: Trunk) -> None:
        super().__init__()
        self.trunk = trunk

    def forward(self, images: Tensor) -> Tensor:
        few = max(1, FEW_PIXELS // (images.shape[2] * images.shape[3]))
        if len(images) <= few or not images.is_cpu or torch.compiler.is_compiling():
            result: Tensor = self.trunk(images)
            return result
        return torch.cat([self.trunk(some) for some in images.split(few)])


def _pairs(model: nn.Module) -> Iterator[tuple[nn.Module, str, str]]:
    """(owner, convolution, BatchNorm) where one feeds the other and nothing else."""
    for module in model.modules():
        if isinstance(module, nn.Sequential):
            names = [name for name, _ in module.named_children()]
            yield from ((module, *pair) for pair in zip(names, names[1:], strict=False))
        elif isinstance(module, Trunk | BasicBlock | Bottleneck):
            numbers = [n for n in (1, 2, 3) if hasattr(module, f"bn{n}")]
            yield from ((module, f"conv{n}", f"bn{n}") for n in numbers)


def _around_maps(model: nn.Module) -> Iterator[nn.Module]:
    """BatchNorm that does not follow its convolution directly: see `Stage4.parts`, `SEM`."""
    if isinstance(model, SEMICON):
        first = model.refine_local.layer4[0]
        assert isinstance(first, BasicBlock | Bottleneck) and first.downsample is not None
        yield first.downsample[1]
        if isinstance(first, Bottleneck):
            yield first.bn1
        for i in range(model.parts):
            yield model.attention.get_submodule(f"feature{i + 1}.1")


def _foldable(conv: nn.Module, norm: nn.Module) -> bool:
    """Just the arithmetic of the two, and statistics that do not change."""
    hooked = conv._forward_hooks or conv._forward_pre_hooks or "forward" in conv.__dict__
    fixed = getattr(norm, "running_mean", None) is not None
    return type(conv) is nn.Conv2d and not hooked and is_plain(norm) and fixed
