"""Feature vectors for shallow methods, and codes of works, as files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch.nn.functional as F
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as serialise
from torch import Tensor

from .. import models
from ..data import ImageSet, build, hog_features
from ..files import atomic_write, utf8_path
from ..training import Config, class_features, feature_set, resume, save_class_features
from ..training.evaluation import load_data, transform_of
from ..training.factory import choose_device

Step = Callable[[int], None]


def extract(kind: str, config: Config, network: Path | None, step: Step) -> dict[str, Tensor]:
    """Features and labels of a data set.

    Args:
        kind: see `study.Features`.
        config: names the data set, and has the transform for the network of kind "network".
        network: run folder of the network, for kind "network".
        step: called with the number of batches, or images for "hog", that are done in a set.

    Returns:
        float32 (N, F) "train", "query" and "database" (left out where it is the training set), and
        the labels of each, "train_labels" and so on.
    """
    data = load_data(config.data)
    sets = {"train": data.train, "query": data.query}
    if data.train is not data.database:
        sets["database"] = data.database
    take = _taker(kind, config, network, step)
    found = {name: take(images) for name, images in sets.items()}
    return found | {f"{name}_labels": images.labels for name, images in sets.items()}


def _taker(
    kind: str, config: Config, network: Path | None, step: Step
) -> Callable[[ImageSet], Tensor]:
    if kind == "hog":
        return lambda images: hog_features(images, progress=lambda done, total: step(done))
    if kind == "network":
        assert network is not None
        model, transform = models.load(network / resume.MODEL), transform_of(config.data, False)
    else:
        described = {"network": "backbone", "code_length": 1, "backbone": "resnet50"}
        model = models.build({**described, "weights": "IMAGENET1K_V1"}, seed=0)
        transform = build("imagenet", 224, False)
    model = model.to(choose_device(config.run.device))
    size, workers = config.selection.batch_size, config.run.workers

    def take(images: ImageSet) -> Tensor:
        options = {"batch_size": size, "workers": workers}
        return F.normalize(feature_set(model, images, transform, **options, progress=step))

    return take


def write_similarity(path: Path, network: str, config: Config, step: Step) -> None:
    """Write the mean features of the classes of the training images by a published network."""
    train = load_data(config.data).train
    save_class_features(class_features(train, network, progress=step), path)


def save_tensors(path: Path, tensors: dict[str, Tensor], about: dict[str, str]) -> None:
    """Write tensors with a description, atomically."""
    content = serialise({k: v.contiguous() for k, v in tensors.items()}, about)
    with atomic_write(path) as file:
        file.write(content)


def load_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """What `save_tensors` wrote. Raises ValueError for a damaged file."""
    try:
        with utf8_path(path) as name, safe_open(name, "pt") as file:
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
            return tensors, file.metadata() or {}
    except (OSError, SafetensorError) as error:
        raise ValueError(f"{path} is damaged: {error}; delete it to make it again") from None
