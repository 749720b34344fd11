"""Presets of SHC (semantic hash centers)."""

from functools import partial
from typing import Any

from . import dsh, fine_grained, small
from .recipe import Recipes

# Data sets without a reader of their own are read by lists train.txt, test.txt and database.txt.
DATA: dict[str, dict[str, Any]] = {
    # HashNet's split of 100 classes: 10,000 training images, 5,000 queries, the rest is searched.
    "imagenet100": {"name": "list", "options": {"database": "database.txt"}},
    "cars": {"name": "list", "options": {"name": "Stanford Cars"}},
    "nabirds": {"name": "nabirds"},
}
LENGTHS, CIFAR_LENGTHS = (16, 32, 64), (12, 48)


def published(name: str, bits: int) -> dict[str, Any]:
    """SHC as released, but with batches of 64 for the classifier too, and a model that is selected
    on held-out training images. Its runs end by early stopping, after an unknown number of passes.
    """
    return {
        "data": {"image_size": 224, "transform": "crop", **DATA[name]},
        "model": {
            "network": "backbone",
            "code_length": bits,
            "options": {"backbone": "resnet50", "weights": "IMAGENET1K_V1", "norm": True},
        },
        "method": {"name": "shc", "options": {"classify": 30}},
        "classifier": {"optimizer": {"name": "sgd", "lr": 5e-3, "weight_decay": 1e-4}},
        "optimizer": {"name": "rmsprop", "lr": 1e-5, "weight_decay": 1e-5},
        "schedule": {"iterations": 120, "batch_size": 64},
        "selection": {"every": 3},
        "run": {"workers": 2},
    }


def folder_small(bits: int) -> dict[str, Any]:
    """As `small.folder_small`; a third of the passes train the classifier, from which the codes go
    on."""
    recipe = small.folder_small(bits, "vanilla")
    return recipe | {
        "model": recipe["model"] | {"options": {"backbone": "tiny", "norm": True}},
        "method": {"name": "shc", "options": {"classify": 5, "restart": False}},
        "schedule": recipe["schedule"] | {"iterations": 15, "epochs": 2, "samples": None},
    }


def cifar10(bits: int) -> dict[str, Any]:
    """CIFAR-10 in DSH's protocol, with a residual network from scratch.

    36 passes with strong augmentation, of which the first 3 train the classifier.
    """
    quick = dsh.cifar10(bits, "-quick")
    optimizer = {"name": "sgd", "lr": 0.15, "momentum": 0.9, "nesterov": True, "weight_decay": 5e-4}
    options = {"backbone": "resnet10-32", "norm": True}
    return quick | {
        "data": quick["data"] | {"transform": "strong"},
        "model": {**quick["model"], "network": "backbone", "options": options},
        "method": {"name": "shc", "options": {"classify": 3, "restart": False}},
        "classifier": {"optimizer": optimizer, "lr": "onecycle"},
        "optimizer": optimizer,
        "schedule": quick["schedule"] | {"iterations": 36},
        "run": quick["run"] | {"precision": "bf16"},
    }


def table() -> Recipes:
    """All presets of SHC."""
    found: Recipes = {}
    for name in DATA:
        for bits in LENGTHS:
            found[f"shc-{name}-{bits}"] = partial(published, name, bits)
    for bits in fine_grained.LENGTHS:
        found[f"shc-folder-small-{bits}"] = partial(folder_small, bits)
    for bits in CIFAR_LENGTHS:
        found[f"cifar10-shc-{bits}"] = partial(cifar10, bits)
    return found
