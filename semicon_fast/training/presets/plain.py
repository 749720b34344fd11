"""Presets of the methods that train a plain ResNet: DPSH, HashNet, CSQ, OrthoHash and CRH.

Those of HashNet, CSQ and OrthoHash are the runs of aassxun/DSH_Analysis, which name all settings.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

from . import small
from .fine_grained import LENGTHS, ROWS
from .recipe import Recipes

EPOCHS, BATCH = 30, 16


def _compared(name: str, bits: int, lr: float, weight_decay: float) -> dict[str, Any]:
    """The network and the schedule that the methods share in aassxun/DSH_Analysis."""
    return {
        "data": {"name": name, "image_size": 224, "transform": "imagenet"},
        "model": _resnet(bits, "resnet50"),
        "optimizer": {"name": "sgd", "lr": lr, "momentum": 0.9, "weight_decay": weight_decay},
        "schedule": {
            "iterations": 40,
            "epochs": EPOCHS,
            "samples": ROWS[name].samples,
            "batch_size": BATCH,
            "lr": "step",
            "milestones": (35,),
        },
        "run": {"workers": 2},
    }


def _resnet(bits: int, backbone: str) -> dict[str, Any]:
    options = {"backbone": backbone, "weights": "IMAGENET1K_V1", "tanh": False}
    return {"network": "backbone", "code_length": bits, "options": options}


def _all_images(name: str, bits: int, method: str, backbone: str, epochs: int) -> dict[str, Any]:
    """Passes over all training images in batches of 128."""
    return {
        "data": {"name": name, "image_size": 224, "transform": "imagenet"},
        "model": _resnet(bits, backbone),
        "method": {"name": method},
        "schedule": {"iterations": epochs, "batch_size": 128},
        "selection": {"every": 10},
        "run": {"workers": 2},
    }


def dpsh(name: str, bits: int) -> dict[str, Any]:
    """DPSH as in swuxyj/DeepHash-pytorch. What the published rows of these data sets had is not
    known."""
    optimizer = {"name": "rmsprop", "lr": 1e-5, "weight_decay": 1e-5}
    return _all_images(name, bits, "dpsh", "resnet50", 150) | {"optimizer": optimizer}


def hashnet(name: str, bits: int) -> dict[str, Any]:
    """HashNet as in DSH_Analysis: with pairs of the bank of outputs, and a tanh that becomes
    steeper every 15 epochs."""
    batches = ROWS[name].samples // BATCH
    options = {"alpha": 0.1, "every": 15 * batches, "weights": "balanced", "pairs": "bank"}
    return _compared(name, bits, 3e-4, 5e-4) | {"method": {"name": "hashnet", "options": options}}


def csq(name: str, bits: int) -> dict[str, Any]:
    """CSQ as in DSH_Analysis: with Hadamard centers where the code length is a power of 2."""
    centers = "hadamard" if bits == 32 else "random"
    options = {"centers": centers, "quantisation": 0.1}
    return _compared(name, bits, 1e-3, 1e-4) | {"method": {"name": "csq", "options": options}}


def orthohash(name: str, bits: int) -> dict[str, Any]:
    """OrthoHash as in DSH_Analysis: with one learning rate for the whole network."""
    recipe = _compared(name, bits, 1e-4, 5e-4)
    model = recipe["model"]
    options = model["options"] | {"norm": True}
    return recipe | {"model": model | {"options": options}, "method": {"name": "orthohash"}}


def crh(name: str, bits: int) -> dict[str, Any]:
    """CRH as published for other data and lengths, but for Adam's first beta of 0.5 and gradients
    that are clipped to a norm of 1."""
    recipe = _all_images(name, bits, "crh", "resnet34", 300)
    return recipe | {
        "optimizer": {"name": "adam", "lr": 1e-4, "weight_decay": 1e-5},
        "schedule": recipe["schedule"] | {"lr": "cosine"},
    }


METHODS: dict[str, Callable[[str, int], dict[str, Any]]] = {
    "dpsh": dpsh,
    "hashnet": hashnet,
    "csq": csq,
    "orthohash": orthohash,
    "crh": crh,
}


def folder_small(bits: int, method: str) -> dict[str, Any]:
    """As `small.folder_small`, with 20 passes over all images.

    From scratch, DPSH needs the BatchNorm too: without it half of the bits become the same for all.
    """
    recipe = small.folder_small(bits, "vanilla")
    options: dict[str, Any] = {"backbone": "tiny", "tanh": False}
    if method in ("orthohash", "dpsh"):
        options["norm"] = True
    return recipe | {
        "model": recipe["model"] | {"options": options},
        "method": {"name": method},
        "schedule": recipe["schedule"] | {"iterations": 20, "epochs": 1, "samples": None},
    }


def table() -> Recipes:
    """All presets of these methods."""
    found: Recipes = {}
    for method, recipe in METHODS.items():
        for bits in LENGTHS:
            for name in ROWS:
                found[f"{method}-{name}-{bits}"] = partial(recipe, name, bits)
            found[f"{method}-folder-small-{bits}"] = partial(folder_small, bits, method)
    return found
