"""Presets of the published fine-grained rows: SEMICON, ADSH and ExchNet."""

from functools import partial
from typing import Any, NamedTuple

from .recipe import Recipes


class Row(NamedTuple):
    """SEMICON's published schedule for one data set (README of its released code, paper 4.2)."""

    iterations: int
    samples: int
    lr: float
    milestones: tuple[int, ...]


# A milestone at 40 of 40 iterations never lowers the learning rate; 45 of 50 does for the last 5.
ROWS = {
    "cub": Row(40, 2000, 2.5e-4, ()),
    "aircraft": Row(40, 2000, 2.5e-4, ()),
    "food101": Row(50, 2000, 2.5e-4, (45,)),
    "nabirds": Row(50, 4000, 5e-4, (45,)),
    "vegfru": Row(50, 4000, 5e-4, (45,)),
}
LENGTHS = (12, 24, 32, 48)
VARIANTS = {"paper": "", "official": "-official", "vanilla": "-vanilla"}


def semicon(name: str, bits: int, variant: str) -> dict[str, Any]:
    """variant: "paper", "official", or "vanilla" (the objective on a plain ResNet-50, Table 2)."""
    row = ROWS[name]
    options: dict[str, Any] = {"backbone": "resnet50", "weights": "IMAGENET1K_V1"}
    if variant != "vanilla":
        options["variant"] = variant
    # By the released logs, NABirds at 12 bits alone used half the data set's learning rate.
    lr = 2.5e-4 if (name, bits) == ("nabirds", 12) else row.lr
    return {
        "data": {"name": name, "image_size": 224, "transform": "imagenet"},
        "model": {
            "network": "backbone" if variant == "vanilla" else "semicon",
            "code_length": bits,
            "options": options,
        },
        "method": {"name": "semicon"},
        # The released code always uses Nesterov momentum, whatever its command line says.
        "optimizer": {
            "name": "sgd",
            "lr": lr,
            "momentum": 0.91,
            "nesterov": True,
            "weight_decay": 1e-4,
        },
        "schedule": {
            "iterations": row.iterations,
            "epochs": 30,
            "samples": row.samples,
            "batch_size": 16,
            "lr": "step" if row.milestones else "constant",
            "milestones": row.milestones,
        },
        # In the official variant an image's code depends on its batch; the released code uses 16.
        "selection": {"batch_size": 16 if variant == "official" else 64},
        "run": {"workers": 2},
    }


def adsh(name: str, bits: int) -> dict[str, Any]:
    """ADSH's own recipe (AAAI 2018, PyTorch code) on a ResNet-50."""
    return {
        "data": {"name": name, "image_size": 224, "transform": "imagenet", "augment": False},
        "model": {
            "network": "backbone",
            "code_length": bits,
            "options": {"backbone": "resnet50", "weights": "IMAGENET1K_V1"},
        },
        "method": {"name": "adsh"},
        "optimizer": {"name": "sgd", "lr": 1e-3, "weight_decay": 5e-4},
        "schedule": {
            "iterations": 50,
            "epochs": 3,
            "samples": 2000,
            "batch_size": 64,
            "lr": "step",
            "milestones": (10, 20, 30, 40),
        },
        "run": {"workers": 2},
    }


def exchnet(name: str, bits: int) -> dict[str, Any]:
    """ExchNet by the logs of aassxun/DSH_Analysis, the published runs that name all settings."""
    recipe = semicon(name, bits, "vanilla")
    steps = {"iterations": 40, "lr": "step", "milestones": (35,)}
    return recipe | {
        "model": recipe["model"] | {"network": "exchnet"},
        "method": {"name": "exchnet", "options": {"align": 35}},
        "optimizer": {"name": "sgd", "lr": 1e-4, "momentum": 0.9, "weight_decay": 1e-4},
        "schedule": recipe["schedule"] | steps,
    }


def table() -> Recipes:
    """All presets of the published rows."""
    found: Recipes = {}
    for name in ROWS:
        for bits in LENGTHS:
            for variant, suffix in VARIANTS.items():
                found[f"{name}-{bits}{suffix}"] = partial(semicon, name, bits, variant)
            found[f"adsh-{name}-{bits}"] = partial(adsh, name, bits)
            found[f"exchnet-{name}-{bits}"] = partial(exchnet, name, bits)
    return found
