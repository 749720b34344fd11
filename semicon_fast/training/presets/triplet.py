"""Presets of triplet embeddings: ExchNet's supplement, and the user's own images on a CPU."""

from functools import partial
from typing import Any

from . import small
from .fine_grained import ROWS
from .recipe import Recipes

DIMENSIONS = (512, 1024)


def triplet(name: str, size: int) -> dict[str, Any]:
    """ResNet-50 with a linear layer; SGD, weight decay 5e-4, lr 1e-5, divided by 3 every 30 epochs.

    Margin, momentum, batch size and number of epochs are not published: FaceNet's margin, no
    momentum, batches of 128 of all training images, and 90 epochs.
    """
    options = {"backbone": "resnet50", "weights": "IMAGENET1K_V1", "tanh": False}
    return {
        "data": {"name": name, "image_size": 224, "transform": "imagenet"},
        "model": {"network": "backbone", "code_length": size, "options": options},
        "method": {"name": "triplet"},
        "optimizer": {"name": "sgd", "lr": 1e-5, "weight_decay": 5e-4},
        "schedule": {
            "iterations": 90,
            "batch_size": 128,
            "lr": "step",
            "milestones": (30, 60),
            "factor": 1 / 3,
        },
        "selection": {"every": 10},
        "run": {"workers": 2},
    }


def folder_small(size: int) -> dict[str, Any]:
    """As `small.folder_small`, with 20 passes over all images in batches of 128."""
    recipe = small.folder_small(size, "vanilla")
    schedule = {"iterations": 20, "epochs": 1, "samples": None, "batch_size": 128}
    options = {"backbone": "tiny", "tanh": False, "norm": True}
    return recipe | {
        "model": recipe["model"] | {"options": options},
        "method": {"name": "triplet"},
        "schedule": recipe["schedule"] | schedule,
    }


def table() -> Recipes:
    """All presets of triplet embeddings."""
    found: Recipes = {}
    for size in DIMENSIONS:
        for name in ROWS:
            found[f"triplet-{name}-{size}"] = partial(triplet, name, size)
        found[f"triplet-folder-small-{size}"] = partial(folder_small, size)
    return found
