"""Figures of a study from what was measured, with the paper's numbers beside."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from ..training import resume
from ..viz import Picture, Table, parts_figure, precision_recall_figure
from ..viz.figure import COLOURS, MARKERS, STYLES, drawable
from .measured import cell, comparable, labels, records
from .plan import Setup, folder_of
from .study import RADIUS_2, WAYS, Figure, Row, Side, Study, Train

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


class Drawn(NamedTuple):
    """A figure: the name of its files, its caption, and itself."""

    name: str
    caption: str
    picture: Picture


class _Panel(NamedTuple):
    """The rows of one picture, each with its labels by column."""

    value: str
    rows: list[tuple[Row, dict[str, str]]]


def figures(study: Study, setup: Setup) -> Iterator[Drawn]:
    """The figures that are drawn from what was measured; those of networks are not among them."""
    made: dict[str, Callable[[Study, Setup, Figure, _Panel], Picture | None]] = {
        "lines": _lines,
        "dots": _dots,
        "curves": _curves,
        "loss": _loss,
        "parts": _parts,
    }
    for figure in study.figures:
        if figure.kind in made:
            for panel in _panels(study, setup, figure):
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
    words = ", ".join(filter(None, (caption, _panel_text(figure, value))))
    return name, f"{study.source}: {words}"


def _panel_text(figure: Figure, value: str) -> str:
    return f"{value} bits" if figure.panel == "bits" else value


def _panels(study: Study, setup: Setup, figure: Figure) -> list[_Panel]:
    panels: dict[str, _Panel] = {}
    for row in study.chosen(setup.budget):
        named = dict(zip(study.columns, labels(study, row, setup), strict=True))
        value = named.get(figure.panel, "")
        panels.setdefault(value, _Panel(value, [])).rows.append((row, named))
    return list(panels.values())


def _style(number: int) -> dict[str, Any]:
    """Colour and marker of a line; the eighth has the colour of the first and another marker."""
    turn = number // len(COLOURS)
    return {
        "color": COLOURS[number % len(COLOURS)],
        "marker": MARKERS[(number + turn) % len(MARKERS)],
        "markersize": 5,
    }


def _lines(study: Study, setup: Setup, figure: Figure, panel: _Panel) -> Picture | None:
    """A metric over a column: filled markers are ours with their spread, hollow ones published."""
    table = Table((figure.line, figure.x, "values", figure.metric, "spread"))
    picture = Picture(5.4, 3.8, table)
    axis = picture.subplots()
    places = _places([named[figure.x] for _, named in panel.rows])
    lines = list(dict.fromkeys(named[figure.line] for _, named in panel.rows))
    highest = 0.0
    for number, line in enumerate(lines):
        mine = [(named[figure.x], cell(row, setup, figure.metric)) for row, named in panel.rows
                if named[figure.line] == line]  # fmt: skip
        style = _style(number)
        printed = [(x, c.published) for x, c in mine if c.published is not None]
        hollow = style | {"markerfacecolor": "white", "linestyle": "dotted"}
        axis.plot([places[x] for x, _ in printed], [y for _, y in printed], **hollow)
        ours = [(x, c.ours, c.spread) for x, c in mine if c.ours is not None]
        axis.errorbar(
            [places[x] for x, _, _ in ours],
            [y for _, y, _ in ours],
            yerr=[spread or 0.0 for *_, spread in ours],
            capsize=2,
            **style,
            linestyle=STYLES[number // len(COLOURS) * 3],
        )
        table.rows += [(line, x, "published", y, "") for x, y in printed]
        table.rows += [(line, x, "ours", y, "" if s is None else s) for x, y, s in ours]
        highest = max([highest, *(y for _, y in printed), *(y for _, y, _ in ours)])
    axis.set_xticks(list(places.values()), [drawable(name) for name in places])
    axis.set(
        xlabel=AXES.get(figure.x, figure.x),
        ylabel=AXES.get(figure.metric, figure.metric) + _side(panel),
        ylim=(0, _end(highest)),
    )
    axis.grid(alpha=0.3)
    axis.set_title(drawable(panel.value, LONGEST), fontsize=10)
    sides = {named[figure.line]: row.side for row, named in panel.rows}
    entries = [
        _entry(axis, drawable(line, LONGEST) + _own_side(panel, sides[line]), _style(number))
        for number, line in enumerate(lines)
    ]
    remarks = ("solid: measured", f"hollow, dotted: {_published(study, setup)}")
    _explain(axis, entries, *(remarks if any(row.published for row, _ in panel.rows) else ()))
    return picture


def _side(panel: _Panel) -> str:
    """The side of the database, as the end of an axis' name; empty where rows differ in it."""
    sides = {row.side for row, _ in panel.rows}
    return f"\n({SIDES[sides.pop()]})" if len(sides) == 1 else ""


def _own_side(panel: _Panel, side: Side) -> str:
    """The side of the database, as the end of a line's name where rows differ in it."""
    return "" if _side(panel) else f" ({SIDES[side]})"


def _published(study: Study, setup: Setup) -> str:
    return "published" if comparable(study, setup) else "published, with other data or settings"


def _end(highest: float) -> float:
    """The end of an axis from 0 on which the highest value is `highest`."""
    return min(1.02, 1.1 * highest) if highest else 1.02


def _places(values: Sequence[str]) -> dict[str, float]:
    """Where the values of a column are on an axis: numbers where they are, others one by one."""
    distinct = list(dict.fromkeys(values))
    if all(re.fullmatch(r"-?\d+(\.\d+)?", value) for value in distinct):
        return {value: float(value) for value in distinct}
    return {value: float(number) for number, value in enumerate(distinct)}


def _entry(axis: Any, label: str, style: dict[str, Any]) -> Any:
    return axis.plot([], [], label=label, linestyle="solid", **style)[0]


def _explain(axis: Any, entries: list[Any], *remarks: str) -> None:
    """A legend beside the axes, where it cannot cover anything, with remarks as its last lines."""
    blanks = [axis.plot([], [], linestyle="none", label=remark)[0] for remark in remarks]
    handles = [*entries, *blanks]
    axis.legend(
        handles,
        [handle.get_label() for handle in handles],
        loc="upper left",
        bbox_to_anchor=(1.01, 1.0),
        frameon=False,
        fontsize=8,
    )


def _dots(study: Study, setup: Setup, figure: Figure, panel: _Panel) -> Picture | None:
    """A metric of each row, ours and published, one line of the picture each."""
    table = Table(("row", "values", figure.metric, "spread"))
    picture = Picture(5.4, 0.9 + 0.27 * len(panel.rows), table)
    axis = picture.subplots()
    names = []
    highest = 0.0
    for place, (row, named) in enumerate(panel.rows):
        text = ", ".join(value for name, value in named.items() if name != figure.panel)
        names.append(text + _own_side(panel, row.side))
        found = cell(row, setup, figure.metric)
        if found.published is not None:
            axis.plot(found.published, place, "o", color=COLOURS[1], markerfacecolor="white")
            table.rows.append((names[-1], "published", found.published, ""))
        if found.ours is not None:
            spread = found.spread or 0.0
            axis.errorbar(found.ours, place, xerr=spread, fmt="D", color=COLOURS[0], capsize=2)
            table.rows.append((names[-1], "ours", found.ours, found.spread or ""))
        highest = max(highest, found.published or 0.0, found.ours or 0.0)
    axis.set_yticks(range(len(names)), [drawable(name, LONGEST) for name in names], fontsize=8)
    axis.set(ylim=(len(names) - 0.5, -0.5), xlim=(0, _end(highest)))
    axis.set_xlabel(AXES.get(figure.metric, figure.metric) + _side(panel))
    axis.grid(alpha=0.3)
    axis.set_title(drawable(panel.value, LONGEST), fontsize=10)
    ours = axis.plot([], [], "D", color=COLOURS[0], label="measured")[0]
    hollow: dict[str, Any] = {"color": COLOURS[1], "markerfacecolor": "white"}
    printed = axis.plot([], [], "o", label=_published(study, setup), **hollow)[0]
    _explain(axis, [ours, printed])
    return picture


def _curves(study: Study, setup: Setup, figure: Figure, panel: _Panel) -> Picture | None:
    """Precision over recall of the first seed of each row; None if nothing was measured."""
    found = {}
    for row, named in panel.rows:
        for record in records(row, setup)[:1]:
            evaluation = record["evaluation"].get(WAYS[row.side])
            if evaluation is not None:
                curve = evaluation["curve"]
                name = named[figure.line] + _own_side(panel, row.side)
                # Lines of one panel that share their name are told apart by the row.
                name = f"{name} ({row.name})" if name in found else name
                found[name] = (curve["recall"], curve["precision"])
    if not found:
        return None
    picture = precision_recall_figure(found)
    picture.axes[0].set_ylabel(f"precision{_side(panel)}")
    if panel.value:
        picture.axes[0].set_xlabel(f"recall, {drawable(_panel_text(figure, panel.value), LONGEST)}")
    return picture


def _loss(study: Study, setup: Setup, figure: Figure, panel: _Panel) -> Picture | None:
    """The loss of each pass over the training images, of the first seed of each row."""
    table = Table((figure.line, "pass", "loss"))
    picture = Picture(5.4, 3.8, table)
    axis = picture.subplots()
    for number, (row, named) in enumerate(panel.rows):
        work = row.of(setup.budget)
        path = folder_of(work, 0, setup) / resume.LOG if isinstance(work, Train) else None
        if path is None or not path.is_file():
            continue
        lines = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
        losses = [e["loss"]["total"] for e in lines if e["event"] == "epoch"]
        name = named[figure.line]
        axis.plot(
            range(1, len(losses) + 1),
            losses,
            label=drawable(name, LONGEST),
            color=COLOURS[number % len(COLOURS)],
            linestyle=STYLES[number % len(STYLES)],
        )
        table.rows += [(name, place, loss) for place, loss in enumerate(losses, 1)]
    if not table.rows:
        return None
    axis.set(xlabel="passes over the training images", ylabel="training loss")
    axis.set_ylim(bottom=0)
    axis.xaxis.get_major_locator().set_params(integer=True)
    axis.grid(alpha=0.3)
    axis.legend(frameon=False, fontsize=8)
    return picture


def _parts(study: Study, setup: Setup, figure: Figure, panel: _Panel) -> Picture | None:
    """mAP by parts of the code, of the first seed of each row; None if nothing was measured."""
    found: dict[str, Any] = {}
    for row, named in panel.rows:
        for record in records(row, setup)[:1]:
            parts = record["evaluation"].get(WAYS[row.side], {}).get("parts")
            if parts is not None:
                found[_panel_text(Figure("parts", panel=figure.line), named[figure.line])] = parts
    if not found:
        return None
    kinds = ("cumulative", "alone")
    return parts_figure(*({line: parts[k] for line, parts in found.items()} for k in kinds))
