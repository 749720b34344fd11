"""Feature vectors for shallow methods, and codes of works, as files."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from safetensors.torch import save as serialise
from torch import Tensor

from .. import models
from ..data import HashingData, ImageSet, Transform, build, evaluation_batches
from ..files import atomic_write, utf8_path
from ..models import HashModel
from ..training import Config, class_features, resume, save_class_features
from ..training.evaluation import load_data, transform_of

Step = Callable[[int], None]


def extract(kind: str, config: Config, network: Path | None, step: Step) -> dict[str, Tensor]:
    """Features and labels of a data set.

    Args:
        kind: see `study.Features`.
        config: names the data set and its transform.
        network: run folder of the network, for kind "network".
        step: called with the number of images done in each set.

    Returns:
        float32 (N, F) "train", "query" and "database" (left out where it is the training set), and
        the labels of each, "train_labels" and so on.
    """
    data = load_data(config.data)
    take = _taker(kind, config, network, step)
    sets = {"train": data.train, "query": data.query}
    if not _database_is_train(data):
        sets["database"] = data.database
    found = {name: take(images) for name, images in sets.items()}
    return found | {f"{name}_labels": images.labels for name, images in sets.items()}


def _database_is_train(data: HashingData) -> bool:
    same = len(data.train) == len(data.database)
    return same and torch.equal(data.train_rows, torch.arange(len(data.train)))


def _taker(
    kind: str, config: Config, network: Path | None, step: Step
) -> Callable[[ImageSet], Tensor]:
    if kind == "hog":
        hog = import_module("..data.hog", __package__).hog_512
        return lambda images: torch.stack([hog(images.image(i)) for i in range(len(images))])
    if kind == "network":
        assert network is not None
        model, transform = models.load(network / resume.MODEL), transform_of(config.data, False)
        return lambda images: F.normalize(_of_network(model, images, transform, config, step))
    described = {"network": "backbone", "code_length": 1, "backbone": "resnet50"}
    model = models.build({**described, "weights": "IMAGENET1K_V1"}, seed=0)
    transform = build("imagenet", 224, False)
    return lambda images: _of_network(model, images, transform, config, step)


def _of_network(
    model: HashModel, images: ImageSet, transform: Transform, config: Config, step: Step
) -> Tensor:
    """What the hash layer of a network is computed from, float32 (N, F)."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model = model.to(device).eval()
    found, done = [], 0
    size, workers = config.selection.batch_size, config.run.workers
    with torch.inference_mode():
        for batch in evaluation_batches(images, transform, size, workers):
            found.append(model(batch.images.to(device)).features.float().cpu())
            done += len(batch.rows)
            step(done)
    return torch.cat(found)


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
            return load_file(name), file.metadata() or {}
    except (OSError, SafetensorError) as error:
        raise ValueError(f"{path} is damaged: {error}; delete it to make it again") from None


def shallow_hasher(method: str, bits: int, seed: int, options: dict[str, Any]) -> Any:
    """A method for feature vectors by its name."""
    return import_module("..shallow", __package__).build(method, bits, seed=seed, **options)
