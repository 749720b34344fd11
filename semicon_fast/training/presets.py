"""Presets: published settings as configurations. All can be overridden; `root` must be given."""

import difflib
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

from . import presets_shc
from .config import Config


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
DSH_LENGTHS = (12, 24, 36, 48)
VARIANTS = {"paper": "", "official": "-official", "vanilla": "-vanilla"}

# Channel means and standard deviations of CIFAR-10's training images.
CIFAR_MEAN = (0.4914, 0.4822, 0.4465)
CIFAR_STD = (0.2470, 0.2435, 0.2616)
# DSH's input is the pixel value in 0..255 minus the mean, not divided by a standard deviation.
PIXELS = (1 / 255, 1 / 255, 1 / 255)


def _fine_grained(name: str, bits: int, variant: str) -> dict[str, Any]:
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


def _adsh(name: str, bits: int) -> dict[str, Any]:
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


def _exchnet(name: str, bits: int) -> dict[str, Any]:
    """ExchNet by the logs of aassxun/DSH_Analysis, the published runs that name all settings."""
    recipe = _fine_grained(name, bits, "vanilla")
    steps = {"iterations": 40, "lr": "step", "milestones": (35,)}
    return recipe | {
        "model": recipe["model"] | {"network": "exchnet"},
        "method": {"name": "exchnet", "options": {"align": 35}},
        "optimizer": {"name": "sgd", "lr": 1e-4, "momentum": 0.9, "weight_decay": 1e-4},
        "schedule": recipe["schedule"] | steps,
    }


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


def _cifar10_dsh(bits: int, recipe: str) -> dict[str, Any]:
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


def _dsh_finetune(bits: int) -> dict[str, Any]:
    """DSH's fine-tuning of its 12-bit network: 30,000 batches, lr x 0.6 every 4,000.

    model.start is the model of the 12-bit run; override it if that run is in another folder.
    """
    config = _cifar10_dsh(bits, "-paper")
    milestones = tuple(range(16, 120, 16))
    changes = {"iterations": 120, "milestones": milestones, "factor": 0.6}
    return config | {
        "model": config["model"] | {"start": "runs/cifar10-dsh-paper-12/model.safetensors"},
        "optimizer": config["optimizer"] | {"lr": 1e-4},
        "schedule": config["schedule"] | changes,
    }


def _folder(bits: int, variant: str) -> dict[str, Any]:
    """The user's own images in a folder: CUB's schedule and ImageNet weights."""
    recipe = _fine_grained("cub", bits, variant)
    return recipe | {"data": recipe["data"] | {"name": "folder"}}


def _folder_small(bits: int, variant: str) -> dict[str, Any]:
    """The user's own images on a CPU: a narrow ResNet from scratch at 64 pixels."""
    options: dict[str, Any] = {"backbone": "tiny"}
    if variant != "vanilla":
        options["variant"] = variant
    return {
        "data": {
            "name": "folder",
            "image_size": 64,
            "transform": "mild",
            "cache": True,
            "cache_size": 96,
        },
        "model": {
            "network": "backbone" if variant == "vanilla" else "semicon",
            "code_length": bits,
            "options": options,
        },
        "method": {"name": "semicon"},
        "optimizer": {"name": "adamw", "lr": 1e-3, "weight_decay": 0.01},
        "schedule": {
            "iterations": 10,
            "epochs": 2,
            "samples": 2000,
            "batch_size": 32,
            "lr": "onecycle",
        },
        "selection": {"batch_size": 16 if variant == "official" else 64},
        "run": {"checkpoint_every": "iteration"},
    }


def _exchnet_folder_small(bits: int) -> dict[str, Any]:
    """As `_folder_small`; parts are exchanged in the last two of ten iterations."""
    model = {"network": "exchnet", "code_length": bits, "options": {"backbone": "tiny"}}
    method = {"name": "exchnet", "options": {"align": 8}}
    return _folder_small(bits, "vanilla") | {"model": model, "method": method}


def _birdlets(bits: int) -> dict[str, Any]:
    """SEMICON with a narrow ResNet on generated 64-pixel images of birds."""
    return {
        "data": {"name": "birdlets", "image_size": 64, "transform": "mild", "cache": True},
        "model": {"network": "semicon", "code_length": bits, "options": {"backbone": "tiny"}},
        "method": {"name": "semicon"},
        "optimizer": {"name": "adamw", "lr": 1e-3, "weight_decay": 0.01},
        "schedule": {"iterations": 5, "epochs": 3, "batch_size": 32, "lr": "onecycle"},
        "run": {"checkpoint_every": "iteration"},
    }


def _birdlets_small(bits: int) -> dict[str, Any]:
    """The preset of `semicon-fast demo`: smaller images and network, birds that differ more.

    Parts have 2.5 times the area and poses vary half as much, so that 10 short epochs are enough
    (mAP at least 0.997 with six seeds). Images are shifted and mirrored but not cropped: a crop can
    cut off the only part that distinguishes two classes.
    """
    return {
        "data": {
            "name": "birdlets",
            "options": {"size": 48, "part_size": 2.5, "nuisance": 0.5},
            "image_size": 48,
            "transform": "small",
            "cache": True,
        },
        "model": {"network": "semicon", "code_length": bits, "options": {"backbone": "micro"}},
        "method": {"name": "semicon"},
        "optimizer": {"name": "adamw", "lr": 3e-3, "weight_decay": 0.01},
        "schedule": {"iterations": 5, "epochs": 2, "batch_size": 32, "lr": "onecycle"},
        "run": {"checkpoint_every": "iteration", "channels_last": True},
    }


def _table() -> dict[str, Callable[[], dict[str, Any]]]:
    found: dict[str, Callable[[], dict[str, Any]]] = {}
    for name in ROWS:
        for bits in LENGTHS:
            for variant, suffix in VARIANTS.items():
                found[f"{name}-{bits}{suffix}"] = partial(_fine_grained, name, bits, variant)
            found[f"adsh-{name}-{bits}"] = partial(_adsh, name, bits)
            found[f"exchnet-{name}-{bits}"] = partial(_exchnet, name, bits)
    for recipe in DSH_RECIPES:
        for bits in DSH_LENGTHS:
            found[f"cifar10-dsh{recipe}-{bits}"] = partial(_cifar10_dsh, bits, recipe)
    for bits in DSH_LENGTHS[1:]:
        found[f"cifar10-dsh-finetune-{bits}"] = partial(_dsh_finetune, bits)
    for bits in LENGTHS:
        for variant, suffix in VARIANTS.items():
            found[f"folder-{bits}{suffix}"] = partial(_folder, bits, variant)
            found[f"folder-small-{bits}{suffix}"] = partial(_folder_small, bits, variant)
        found[f"exchnet-folder-small-{bits}"] = partial(_exchnet_folder_small, bits)
    found |= presets_shc.table(_folder_small, _cifar10_dsh)
    found["birdlets-48"] = partial(_birdlets, 48)
    found["birdlets-small-48"] = partial(_birdlets_small, 48)
    return found


PRESETS = _table()


def names() -> list[str]:
    """Names of all presets."""
    return list(PRESETS)


def preset(name: str) -> Config:
    """The preset called `name`. Raises ValueError with the most similar names."""
    if name not in PRESETS:
        near = difflib.get_close_matches(name, PRESETS, 3, cutoff=0.4)
        hint = f"; the nearest are {', '.join(near)}" if near else ""
        raise ValueError(f"preset {name!r} does not exist{hint} (`semicon-fast info` lists all)")
    return Config.model_validate(PRESETS[name]())
