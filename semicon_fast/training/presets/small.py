"""Presets for the user's own images in a folder, and for generated ones."""

from functools import partial
from typing import Any

from .fine_grained import LENGTHS, VARIANTS, semicon
from .recipe import Recipes


def folder(bits: int, variant: str) -> dict[str, Any]:
    """The user's own images in a folder: CUB's schedule and ImageNet weights."""
    recipe = semicon("cub", bits, variant)
    return recipe | {"data": recipe["data"] | {"name": "folder"}}


def folder_small(bits: int, variant: str) -> dict[str, Any]:
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


def exchnet_folder_small(bits: int) -> dict[str, Any]:
    """As `folder_small`; parts are exchanged in the last two of ten iterations."""
    model = {"network": "exchnet", "code_length": bits, "options": {"backbone": "tiny"}}
    method = {"name": "exchnet", "options": {"align": 8}}
    return folder_small(bits, "vanilla") | {"model": model, "method": method}


def birdlets(bits: int) -> dict[str, Any]:
    """SEMICON with a narrow ResNet on generated 64-pixel images of birds."""
    return {
        "data": {"name": "birdlets", "image_size": 64, "transform": "mild", "cache": True},
        "model": {"network": "semicon", "code_length": bits, "options": {"backbone": "tiny"}},
        "method": {"name": "semicon"},
        "optimizer": {"name": "adamw", "lr": 1e-3, "weight_decay": 0.01},
        "schedule": {"iterations": 5, "epochs": 3, "batch_size": 32, "lr": "onecycle"},
        "run": {"checkpoint_every": "iteration"},
    }


def birdlets_small(bits: int) -> dict[str, Any]:
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


def table() -> Recipes:
    """All presets of folders and birdlets."""
    found: Recipes = {}
    for bits in LENGTHS:
        for variant, suffix in VARIANTS.items():
            found[f"folder-{bits}{suffix}"] = partial(folder, bits, variant)
            found[f"folder-small-{bits}{suffix}"] = partial(folder_small, bits, variant)
        found[f"exchnet-folder-small-{bits}"] = partial(exchnet_folder_small, bits)
    found["birdlets-48"] = partial(birdlets, 48)
    found["birdlets-small-48"] = partial(birdlets_small, 48)
    return found
