"""All studies by name."""

import difflib

from . import dsh, dsh_figures, exchnet, own, semicon, semicon_supplement, shc
from .study import Study

MODULES = (semicon, semicon_supplement, dsh, dsh_figures, shc, exchnet, own)
STUDIES: dict[str, Study] = {study.name: study for module in MODULES for study in module.studies()}


def names() -> list[str]:
    """Names of all studies."""
    return list(STUDIES)


def study_of(name: str) -> Study:
    """The study called `name`. Raises ValueError with the most similar names."""
    if name not in STUDIES:
        near = difflib.get_close_matches(name, STUDIES, 3, cutoff=0.4)
        hint = f"; the nearest are {', '.join(near)}" if near else ""
        raise ValueError(f"study {name!r} does not exist{hint} (`semicon-fast study list` has all)")
    return STUDIES[name]
