"""Presets of DSH on CIFAR-10."""

from functools import partial
from typing import Any, NamedTuple

from .recipe import Recipes

LENGTHS = (12, 24, 36, 48)
# Margins of the sigmoid relaxation. Codes of 0 and 1 have a squared distance of d_H, a quarter of
# that of codes of -1 and +1, so that 6 is the margin of 24 at 12 bits.
MARGINS = (6, 3, 2, 1)

# Channel means and standard deviations of CIFAR-10's training images.
CIFAR_MEAN = (0.4914, 0.4822, 0.4465)
CIFAR_STD = (0.2470, 0.2435, 0.2616)
# DSH's input is the pixel value in 0..255 minus the mean, not divided by a standard deviation.
PIXELS = (1 / 255, 1 / 255, 1 / 255)


class DSHRecipe(NamedTuple):
    """Settings to train with DSH's loss on CIFAR-10."""

    network: str
    transform: str
    std: tuple[float, float, float]
    optimizer: dict[str, Any]
    schedule: dict[str, Any]


DSH_RECIPES = {
    # As published: 70,000 batches of 200, lr / 10 after 60,000 and 65,000.
    "-paper": DSHRecipe(
        "dsh",
        "plain",
        PIXELS,
        {"name": "sgd", "lr": 1e-3, "momentum": 0.9, "weight_decay": 0.004},
        {"iterations": 280, "lr": "step", "milestones": (240, 260)},
    ),
    # The paper's network and loss in a sixth of its steps, with AdamW and a one-cycle schedule. The
    # only augmentation is mirroring: the database is the training set, so fitting it matters more
    # than invariance.
    "-quick": DSHRecipe(
        "dsh",
        "plain",
        CIFAR_STD,
        {"name": "adamw", "lr": 1e-3, "weight_decay": 0.01},
        {"iterations": 45, "lr": "onecycle"},
    ),
}


def cifar10(bits: int, recipe: str) -> dict[str, Any]:
    """DSH from scratch on CIFAR-10 with its paper's protocol; the last model is kept."""
    chosen = DSH_RECIPES[recipe]
    return {
        "data": {
            "name": "cifar10",
            "options": {"protocol": "paper"},
            "image_size": 32,
            "transform": chosen.transform,
            "mean": CIFAR_MEAN,
            "std": chosen.std,
            "cache": True,
        },
        "model": {"network": chosen.network, "code_length": bits},
        "method": {"name": "dsh"},
        "optimizer": chosen.optimizer,
        "schedule": {"batch_size": 200, **chosen.schedule},
        "selection": {"mode": "last", "batch_size": 500},
        "run": {"channels_last": True, "checkpoint_every": "iteration"},
    }


def finetune(bits: int, recipe: str) -> dict[str, Any]:
    """DSH's fine-tuning of its 12-bit network: with "-paper" 30,000 batches, lr x 0.6 every 4,000.

    With "-quick" the fraction of the steps from scratch and of their lr is the same, in one cycle.
    model.start is the model of the 12-bit run; override it if that run is in another folder.
    """
    config = cifar10(bits, recipe)
    changes: dict[str, Any] = {"iterations": 19}
    if recipe == "-paper":
        changes = {"iterations": 120, "milestones": tuple(range(16, 120, 16)), "factor": 0.6}
    start = f"runs/cifar10-dsh{recipe}-12/model.safetensors"
    return config | {
        "model": config["model"] | {"start": start},
        "optimizer": config["optimizer"] | {"lr": 1e-4},
        "schedule": config["schedule"] | changes,
    }


def sigmoid(margin: int, recipe: str) -> dict[str, Any]:
    """The sigmoid relaxation with this margin and no regulariser (supplement, Table 1)."""
    config = cifar10(12, recipe)
    return config | {
        "model": config["model"] | {"options": {"sigmoid": True}},
        "method": {"name": "dsh", "options": {"margin": margin, "alpha": 0}},
    }


def classify(recipe: str) -> dict[str, Any]:
    """The classifier of the supplement's Table 4: the same network, with 10 logits as outputs."""
    return cifar10(10, recipe) | {"method": {"name": "classify"}}


def table() -> Recipes:
    """All presets of DSH."""
    found: Recipes = {}
    for recipe in DSH_RECIPES:
        for bits in LENGTHS:
            found[f"cifar10-dsh{recipe}-{bits}"] = partial(cifar10, bits, recipe)
    for recipe, name in (("-paper", ""), ("-quick", "-quick")):
        for bits in LENGTHS[1:]:
            found[f"cifar10-dsh{name}-finetune-{bits}"] = partial(finetune, bits, recipe)
        for margin in MARGINS:
            found[f"cifar10-dsh{name}-sigmoid-m{margin}-12"] = partial(sigmoid, margin, recipe)
    found["cifar10-classify-paper"] = partial(classify, "-paper")
    found["cifar10-classify"] = partial(classify, "-quick")
    return found
