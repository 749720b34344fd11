"""Optimises a network for inference: folded BatchNorm, channels-last, small batches on the CPU."""

import copy
from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval
from torchvision.models.resnet import BasicBlock, Bottleneck

from ..layers.icon import is_plain
from .backbones import Trunk
from .base import HashModel
from .exchnet import ExchNet
from .semicon import SEMICON

# Four images of 224 x 224 pixels: the activations of their first layers fit in an L3 cache of
# 32 MiB (AMD EPYC Zen 3: a ResNet-50's trunk takes 0.90 of the time of 16 images at once).
BATCH_PIXELS = 4 * 224 * 224


def for_inference(model: HashModel) -> HashModel:
    """A copy of the model for inference only.

    It is in evaluation mode and channels-last, BatchNorm is folded into the preceding convolution,
    and on the CPU the trunk processes a few images at a time. Folding computes W' = W s,
    b' = b - mean s + bias, s = weight / sqrt(var + eps), which is the same function with fewer
    roundings: a bit can differ from the original model's only if the real code is within the
    rounding error of 0. Not folded are layers with a hook and BatchNorms that do not directly
    follow a convolution (SEM's heads, inside ICON, and those that `Stage4.refine_parts` runs after
    the product with the maps).
    """
    model = copy.deepcopy(model).eval().requires_grad_(False)
    apart = {id(module) for module in _unfoldable_norms(model)}
    for owner, first, second in list(_pairs(model)):
        conv, norm = owner.get_submodule(first), owner.get_submodule(second)
        if id(norm) not in apart and _can_fold(conv, norm):
            assert isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d)
            setattr(owner, first, fuse_conv_bn_eval(conv, norm))
            setattr(owner, second, nn.Identity())
    for owner in list(model.modules()):
        for name, module in list(owner.named_children()):
            if isinstance(module, Trunk):
                setattr(owner, name, _SmallBatches(module))
    return model.to(memory_format=torch.channels_last)


class _SmallBatches(nn.Module):
    """Runs the trunk in small batches on the CPU; in evaluation mode images are independent."""

    def __init__(self, trunk: Trunk) -> None:
        super().__init__()
        self.trunk = trunk

    def forward(self, images: Tensor) -> Tensor:
        size = max(1, BATCH_PIXELS // (images.shape[2] * images.shape[3]))
        if len(images) <= size or not images.is_cpu or torch.compiler.is_compiling():
            result: Tensor = self.trunk(images)
            return result
        return torch.cat([self.trunk(some) for some in images.split(size)])


def _pairs(model: nn.Module) -> Iterator[tuple[nn.Module, str, str]]:
    """(owner, first, second): names of consecutive layers of `owner`, where only `second` reads
    the output of `first`."""
    for module in model.modules():
        if isinstance(module, nn.Sequential):
            names = [name for name, _ in module.named_children()]
            yield from ((module, *pair) for pair in zip(names, names[1:], strict=False))
        elif isinstance(module, Trunk | BasicBlock | Bottleneck):
            numbers = [n for n in (1, 2, 3) if hasattr(module, f"bn{n}")]
            yield from ((module, f"conv{n}", f"bn{n}") for n in numbers)


def _unfoldable_norms(model: nn.Module) -> Iterator[nn.Module]:
    """BatchNorms that do not directly follow a convolution: see `Stage4.refine_parts`, `SEM`."""
    for network in model.modules():
        if not isinstance(network, SEMICON | ExchNet):
            continue
        first = network.refine_local.layer4[0]
        assert isinstance(first, BasicBlock | Bottleneck) and first.downsample is not None
        yield first.downsample[1]
        if isinstance(first, Bottleneck):
            yield first.bn1
        for i in range(network.parts):
            yield network.attention.get_submodule(f"feature{i + 1}.1")


def _can_fold(conv: nn.Module, norm: nn.Module) -> bool:
    """Whether these are a Conv2d and a BatchNorm without hooks and with running statistics."""
    hooked = conv._forward_hooks or conv._forward_pre_hooks or "forward" in conv.__dict__
    fixed = getattr(norm, "running_mean", None) is not None
    return type(conv) is nn.Conv2d and not hooked and is_plain(norm) and fixed
