"""Mean features of classes by a published network, from which SHC can take its similarities."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save as serialise
from torch import Tensor, nn

from .. import data as datasets
from ..data import ImageSet, evaluation_batches
from ..files import atomic_write
from ..models.weights import read_tensors


def class_features(
    images: ImageSet,
    network: str = "resnet50",
    *,
    weights: str | os.PathLike[str] | None = "DEFAULT",
    size: int = 224,
    batch_size: int = 64,
    workers: int = 0,
    progress: Callable[[int], None] | None = None,
) -> Tensor:
    """The mean of what goes into the last linear layer of a torchvision network, for each class.

    Args:
        images: training images with one label each, some of every class.
        network: name of a classification network, "alexnet", "vgg16", "resnet50", ...
        weights: torchvision's name of published weights, which are downloaded, or a file of a
            state dict; None: random ones.
        size: side of the images, which are resized and cut as for ImageNet.
        batch_size: images in a forward pass.
        workers: worker processes that decode.
        progress: called with the number of images that are done.

    Returns:
        float32 (C, F).

    Raises:
        ValueError: an unknown network or weights, a class without images, or several labels.
    """
    if images.labels.ndim != 1 or len(images) == 0:
        raise ValueError("images must have one label each, and there must be some")
    counts = torch.bincount(images.labels)
    if empty := (counts == 0).nonzero()[:, 0].tolist():
        raise ValueError(f"images must be of every class, class {empty[0]} has none")
    model = _network(network, weights).eval()
    last = [module for module in model.modules() if isinstance(module, nn.Linear)][-1]
    taken: list[Tensor] = []
    last.register_forward_pre_hook(lambda _, inputs: taken.append(inputs[0].flatten(1)))
    sums = torch.zeros(len(counts), last.in_features, dtype=torch.float64)
    transform = datasets.build("imagenet", size, train=False)
    done = 0
    for batch in evaluation_batches(images, transform, batch_size, workers):
        with torch.inference_mode():
            model(batch.images)
        sums.index_add_(0, batch.labels, taken.pop().double())
        done += len(batch.rows)
        if progress is not None:
            progress(done)
    return (sums / counts[:, None]).float()


def save_class_features(features: Tensor, path: str | os.PathLike[str]) -> None:
    """Write class features (C, F) to a .safetensors file for the option `similarity` of SHC."""
    with atomic_write(path) as file:
        file.write(serialise({"features": features.contiguous()}))


def _network(name: str, weights: str | os.PathLike[str] | None) -> nn.Module:
    import torchvision

    known = torchvision.models.list_models(module=torchvision.models)
    if name not in known:
        raise ValueError(f"network must be one of {', '.join(known)}, got {name!r}")
    given: Any = weights
    if weights is not None and Path(weights).is_file():
        model: nn.Module = torchvision.models.get_model(name, weights=None)
        model.load_state_dict(read_tensors(weights))
        return model
    if weights is not None:
        members = torchvision.models.get_model_weights(name).__members__
        if given not in members:
            raise ValueError(
                f"weights of {name} must be a file or one of {', '.join(members)}, got {given!r}"
            )
    result: nn.Module = torchvision.models.get_model(name, weights=given)
    return result
