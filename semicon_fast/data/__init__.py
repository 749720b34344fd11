"""Datasets for image retrieval: official layouts, folders, lists and a generated dataset."""

from .decode import BrokenFile, BrokenImageError
from .hashing_data import HashingData
from .image_set import ImageSet
from .loader import Batch, batch_count, evaluation_batches, training_batches
from .registry import DATASETS, load
from .transforms import Transform, build, from_config

__all__ = [
    "DATASETS",
    "Batch",
    "BrokenFile",
    "BrokenImageError",
    "HashingData",
    "ImageSet",
    "Transform",
    "batch_count",
    "build",
    "evaluation_batches",
    "from_config",
    "load",
    "training_batches",
]
