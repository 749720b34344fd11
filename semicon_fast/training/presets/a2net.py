"""Presets of A2-Net."""

from functools import partial
from typing import Any

from . import fine_grained, small
from .recipe import Recipes


def published(name: str, bits: int) -> dict[str, Any]:
    """A2-Net by the logs of aassxun/DSH_Analysis, whose runs have as many attention maps as bits;
    the paper's released code has model.options.parts=4. The schedule is that of its ExchNet."""
    recipe = fine_grained.exchnet(name, bits)
    options = {**recipe["model"]["options"], "parts": bits}
    return recipe | {
        "model": {"network": "a2net", "code_length": bits, "options": options},
        "method": {"name": "a2net"},
    }


def folder_small(bits: int) -> dict[str, Any]:
    """As `small.folder_small`; the last five of ten iterations are the fine-tuning."""
    model = {"network": "a2net", "code_length": bits, "options": {"backbone": "tiny"}}
    return small.folder_small(bits, "vanilla") | {"model": model, "method": {"name": "a2net"}}


def table() -> Recipes:
    """All presets of A2-Net."""
    found: Recipes = {}
    for bits in fine_grained.LENGTHS:
        for name in fine_grained.ROWS:
            found[f"a2net-{name}-{bits}"] = partial(published, name, bits)
        found[f"a2net-folder-small-{bits}"] = partial(folder_small, bits)
    return found
