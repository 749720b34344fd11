"""Features of a run's queries and database by its network, for methods that hash vectors."""

from pathlib import Path
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from ..data import HashingData, ImageSet, Transform, evaluation_batches
from ..models import HashModel
from .evaluation import Progress, opened_run, transform_of
from .factory import choose_device


class RunFeatures(NamedTuple):
    """The data of a run, and float32 features (N, F) of its three sets, on the CPU; train is that
    of the database where both are the same images."""

    data: HashingData
    train: Tensor
    queries: Tensor
    database: Tensor


def feature_set(
    model: HashModel,
    images: ImageSet,
    transform: Transform,
    *,
    batch_size: int = 64,
    workers: int = 0,
    progress: Progress | None = None,
) -> Tensor:
    """`HashOutput.features` of all images in order, in evaluation mode: float32 (N, F) on the CPU.

    progress(batches done) is called after each batch.
    """
    like, training = next(model.parameters()), model.training
    found = [torch.empty(0, model.feature_size)]
    model.eval()
    try:
        for batch in evaluation_batches(images, transform, batch_size, workers, raw=True):
            with torch.no_grad():
                output = model(transform.normalised(batch.images.to(like.device)).to(like.dtype))
            found.append(output.features.float().cpu())
            if progress is not None:
                progress(len(found) - 1)
    finally:
        model.train(training)
    return torch.cat(found)


def run_features(
    run: Path | str,
    *,
    root: str | None = None,
    data: HashingData | None = None,
    normalise: bool = True,
) -> RunFeatures:
    """Features of the images of a finished run by its network. Uses CUDA if available.

    Of a run of DSH these are the "CNN features" of its supplement's Table 4: the 500 activations of
    the first fully connected layer, L2-normalised.

    Args:
        run: the run's output folder.
        root: folder of the dataset, if it has moved.
        data: the dataset, if it is already loaded.
        normalise: divide the features of each image by their Euclidean norm.

    Raises:
        ValueError: the folder has no finished run.
    """
    config, data, model = opened_run(run, root, data)
    model = model.to(choose_device("auto"))
    transform = transform_of(config.data, train=False)

    def features(images: ImageSet) -> Tensor:
        found = feature_set(
            model,
            images,
            transform,
            batch_size=config.selection.batch_size,
            workers=config.run.workers,
        )
        return F.normalize(found) if normalise else found

    database = features(data.database)
    train = database if data.train is data.database else features(data.train)
    return RunFeatures(data, train, features(data.query), database)
