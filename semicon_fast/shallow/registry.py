"""Hashers by name. Does not import torch before one is asked for."""

import difflib
import inspect
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ._base import Hasher

# Name -> module and class.
_HOMES = {
    "lsh": ("lsh", "LSH"),
    "itq": ("itq", "ITQ"),
    "cca-itq": ("cca_itq", "CCAITQ"),
    "ksh": ("ksh", "KSH"),
    "sdh": ("sdh", "SDH"),
}
NAMES = tuple(_HOMES)


def hasher_class(name: str) -> "type[Hasher]":
    """The class called `name`. Raises ValueError for an unknown name."""
    if name not in NAMES:
        raise ValueError(f"hasher must be one of {', '.join(NAMES)}, got {name!r}")
    module, kind = _HOMES[name]
    found: type[Hasher] = getattr(import_module(f".{module}", __package__), kind)
    return found


def build(name: str, bits: int, **options: Any) -> "Hasher":
    """The hasher called `name`, not yet fitted.

    options: further arguments of its class. Raises ValueError for an unknown name or option, and
    ValueError or TypeError for values that `fit` would refuse.
    """
    found = hasher_class(name)
    known = [option for option in inspect.signature(found).parameters if option != "bits"]
    for option in options:
        if option not in known:
            near = difflib.get_close_matches(option, known, 1)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise ValueError(
                f"hasher {name} has no option {option!r}, it has {', '.join(known)}{hint}"
            )
    hasher = found(bits, **options)
    hasher.check_parameters()
    return hasher
