"""Learning-to-hash methods (loss and update of learned codes), built by name."""

import difflib
import inspect
from typing import Any

from .a2net import A2NetObjective
from .adsh import ADSH
from .base import Method
from .classify import Classify
from .crh import CRH
from .csq import CSQ
from .dpsh import DPSH
from .dsh import DSH
from .exchnet import ExchNetObjective
from .hashnet import HashNet
from .orthohash import OrthoHash
from .semicon import SEMICONObjective
from .shc import SHC
from .triplet import Triplet

METHODS: dict[str, type[Method]] = {
    cls.name: cls
    for cls in (
        SEMICONObjective,
        ADSH,
        DSH,
        ExchNetObjective,
        A2NetObjective,
        SHC,
        DPSH,
        HashNet,
        CSQ,
        OrthoHash,
        CRH,
        Classify,
        Triplet,
    )
}


def build(name: str, **options: Any) -> Method:
    """The method called `name`. Raises ValueError for an unknown name or option."""
    if name not in METHODS:
        raise ValueError(f"method must be one of {', '.join(METHODS)}, got {name!r}")
    known = list(inspect.signature(METHODS[name].__init__).parameters)[1:]
    for option in options:
        if option not in known:
            near = difflib.get_close_matches(option, known, 1)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise ValueError(
                f"method {name} has no option {option!r}, it has {', '.join(known)}{hint}"
            )
    return METHODS[name](**options)


__all__ = [
    "ADSH",
    "CRH",
    "CSQ",
    "DPSH",
    "DSH",
    "METHODS",
    "SHC",
    "A2NetObjective",
    "Classify",
    "ExchNetObjective",
    "HashNet",
    "Method",
    "OrthoHash",
    "SEMICONObjective",
    "Triplet",
    "build",
]
