"""The rows of a picture, and what a picture calls its rows, columns and metrics."""

from __future__ import annotations

from typing import NamedTuple

from .measured import comparable, labels
from .plan import Setup
from .study import RADIUS_2, Figure, Row, Side, Study

# What axes say of columns and metrics.
AXES = {
    "bits": "code length (bits)",
    "m": "number of attention maps m",
    "alpha": "exponent alpha of SEM",
    RADIUS_2: "precision within Hamming radius 2",
}
CAPTIONS = {
    "curves": "precision over recall",
    "loss": "training loss",
    "parts": "mAP by parts of the code",
}
SIDES: dict[Side, str] = {
    "learned": "learned database codes",
    "encoded": "encoded database",
    "centers": "class centers",
}
# Characters of a name in a figure.
LONGEST = 48


class Panel(NamedTuple):
    """The rows of one picture, each with its labels by column."""

    value: str
    rows: list[tuple[Row, dict[str, str]]]


def panel_text(figure: Figure, value: str) -> str:
    """The value that the rows of a picture share, as text."""
    return f"{value} bits" if figure.panel == "bits" else value


def line_text(figure: Figure, value: str) -> str:
    """The value that the rows of a line share, as text."""
    return f"{value} bits" if figure.line == "bits" else value


def panels(study: Study, setup: Setup, figure: Figure) -> list[Panel]:
    """The pictures of a figure, in the order of the study's rows."""
    found: dict[str, Panel] = {}
    for row in study.chosen(setup.budget):
        named = dict(zip(study.columns, labels(study, row, setup), strict=True))
        value = named.get(figure.panel, "")
        found.setdefault(value, Panel(value, [])).rows.append((row, named))
    return list(found.values())


def side_text(panel: Panel) -> str:
    """The side of the database, as the end of an axis' name; empty where rows differ in it."""
    sides = {row.side for row, _ in panel.rows}
    return f"\n({SIDES[sides.pop()]})" if len(sides) == 1 else ""


def own_side(panel: Panel, side: Side) -> str:
    """The side of the database, as the end of a line's name where rows differ in it."""
    return "" if side_text(panel) else f" ({SIDES[side]})"


def published_text(study: Study, setup: Setup) -> str:
    """What a legend calls the published values."""
    return "published" if comparable(study, setup) else "published, with other data or settings"
