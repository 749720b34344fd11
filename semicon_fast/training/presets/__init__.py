"""Presets: published settings as configurations. All can be overridden; `root` must be given."""

import difflib

from ..config import Config
from . import a2net, dsh, fine_grained, plain, shc, small, triplet
from .recipe import Recipes

_FAMILIES = (fine_grained, a2net, dsh, small, shc, plain, triplet)
PRESETS: Recipes = {name: made for family in _FAMILIES for name, made in family.table().items()}


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
