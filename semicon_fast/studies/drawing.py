"""Figures of a study from what was measured, with the paper's numbers beside."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import NamedTuple

from ..viz import Picture
from . import charts
from .panels import AXES, CAPTIONS, Panel, panel_text, panels
from .plan import Setup
from .study import Figure, Study


class Drawn(NamedTuple):
    """A figure: the name of its files, its caption, and itself."""

    name: str
    caption: str
    picture: Picture


def figures(study: Study, setup: Setup) -> Iterator[Drawn]:
    """The figures that are drawn from what was measured; those of networks are not among them."""
    made: dict[str, Callable[[Study, Setup, Figure, Panel], Picture | None]] = {
        "lines": charts.lines,
        "dots": charts.dots,
        "curves": charts.curves,
        "loss": charts.loss,
        "parts": charts.parts,
    }
    for figure in study.figures:
        if figure.kind in made:
            for panel in panels(study, setup, figure):
                picture = made[figure.kind](study, setup, figure, panel)
                if picture is not None:
                    yield Drawn(*_named(study, figure, panel.value), picture)


def slug(text: str) -> str:
    """Text as a part of a file's name."""
    return re.sub(r"[^\w.]+", "-", text).strip("-")


def _named(study: Study, figure: Figure, value: str) -> tuple[str, str]:
    """The name of the files and the caption of a picture."""
    drawn = figure.kind in ("lines", "dots")
    what: str = figure.metric if drawn else figure.kind
    caption = AXES.get(what, what) if drawn else CAPTIONS[what]
    name = "-".join(filter(None, ("figure", slug(what), slug(value))))
    words = ", ".join(filter(None, (caption, panel_text(figure, value))))
    return name, f"{study.source}: {words}"
