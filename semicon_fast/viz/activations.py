"""Activations of a network for a few images: outputs, attention maps, features around ICON."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from ..data import Transform
from ..data.transforms import query_transform
from ..layers import ICON
from ..models import HashModel


class Activations(NamedTuple):
    """Activations of a network for B images, on the CPU.

    seen: uint8 (3, S, S) each, the transformed images that the network was given.
    outputs: float32 (B, k), real-valued codes before the sign.
    maps: float32 (B, m, h, w), attention maps; None without attention.
    before, after: float32 (B, C, h, w), input and output of the first ICON of the global branch;
    None without ICON.
    """

    seen: list[Tensor]
    outputs: Tensor
    maps: Tensor | None
    before: Tensor | None
    after: Tensor | None


def transform_of(model: HashModel) -> Transform:
    """The query transform that the model was trained with. Raises ValueError if it is unknown."""
    return query_transform(model.preprocess)


def record_activations(
    model: HashModel, images: Sequence[Tensor], transform: Transform | None = None
) -> Activations:
    """Run the model on images in evaluation mode and record its activations.

    Args:
        model: any hashing network; its training mode is restored afterwards.
        images: B images, uint8 (3, H, W) of any sizes.
        transform: the query transform; None: `transform_of(model)`.

    Raises:
        ValueError: transform is None and the model's is unknown.
    """
    transform = transform or transform_of(model)
    batch = transform(list(images))
    like = next(model.parameters())
    icons = [m for n, m in model.named_modules() if isinstance(m, ICON) and "local" not in n]
    kept: list[tuple[Tensor, Tensor]] = []
    hooks = [
        icon.register_forward_hook(lambda _, given, made: kept.append((given[0].clone(), made)))
        for icon in icons[:1]
    ]
    training = model.training
    model.eval()
    try:
        with torch.inference_mode():
            found = model(batch.to(like.device, like.dtype))
    finally:
        model.train(training)
        for hook in hooks:
            hook.remove()
    before, after = kept[0] if kept else (None, None)
    seen = [seen_pixels(image, transform) for image in batch]
    return Activations(seen, *(_to_cpu(x) for x in (found.codes, found.maps, before, after)))  # type: ignore[arg-type]


def seen_pixels(image: Tensor, transform: Transform) -> Tensor:
    """Invert the normalisation of an image (3, S, S): uint8 pixels (3, S, S)."""
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in (transform.mean, transform.std))
    return ((image * std + mean) * 255).round().clamp(0, 255).to(torch.uint8)


# The names of earlier versions.
Look = Activations
look = record_activations


def _to_cpu(values: Tensor | None) -> Tensor | None:
    return None if values is None else values.float().cpu().clone()
