"""Charts of what was measured, with the paper's numbers beside."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

from matplotlib.ticker import MaxNLocator

from ..training import resume
from ..training.sides import SIDES
from ..viz import Picture, Table, parts_figure, precision_recall_figure
from ..viz.figure import COLOURS, MARKERS, STYLES, drawable
from .measured import cell, records
from .panels import AXES, LONGEST, Panel, line_text, own_side, panel_text, published_text, side_text
from .plan import Setup, folder_of
from .study import Figure, Study, Train


def _style(number: int) -> dict[str, Any]:
    """Colour and marker of a line; the eighth has the colour of the first and another marker."""
    turn = number // len(COLOURS)
    return {
        "color": COLOURS[number % len(COLOURS)],
        "marker": MARKERS[(number + turn) % len(MARKERS)],
        "markersize": 5,
    }


def lines(study: Study, setup: Setup, figure: Figure, panel: Panel) -> Picture | None:
    """A metric over a column: filled markers are ours with their spread, hollow ones published."""
    table = Table((figure.line, figure.x, "values", figure.metric, "spread"))
    picture = Picture(7.0, 3.8, table)
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
        ylabel=AXES.get(figure.metric, figure.metric) + side_text(panel),
        ylim=(0, _end(highest)),
    )
    axis.grid(alpha=0.3)
    axis.set_title(drawable(panel.value, LONGEST), fontsize=10)
    sides = {named[figure.line]: row.side for row, named in panel.rows}
    entries = [
        _entry(
            axis,
            drawable(line_text(figure, line), LONGEST) + own_side(panel, sides[line]),
            _style(number),
        )
        for number, line in enumerate(lines)
    ]
    remarks = ("solid: measured", f"hollow, dotted: {published_text(study, setup)}")
    _explain(axis, entries, *(remarks if any(row.published for row, _ in panel.rows) else ()))
    return picture


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


def dots(study: Study, setup: Setup, figure: Figure, panel: Panel) -> Picture | None:
    """A metric of each row, ours and published, one line of the picture each."""
    table = Table(("row", "values", figure.metric, "spread"))
    height = 0.9 + 0.27 * len(panel.rows)
    picture = Picture(max(6.4, 1.9 * height), height, table)
    axis = picture.subplots()
    names = []
    highest = 0.0
    for place, (row, named) in enumerate(panel.rows):
        text = ", ".join(value for name, value in named.items() if name != figure.panel)
        names.append(text + own_side(panel, row.side))
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
    axis.set_xlabel(AXES.get(figure.metric, figure.metric) + side_text(panel))
    axis.grid(alpha=0.3)
    axis.set_title(drawable(panel.value, LONGEST), fontsize=10)
    ours = axis.plot([], [], "D", color=COLOURS[0], label="measured")[0]
    hollow: dict[str, Any] = {"color": COLOURS[1], "markerfacecolor": "white"}
    printed = axis.plot([], [], "o", label=published_text(study, setup), **hollow)[0]
    _explain(axis, [ours, printed])
    return picture


def curves(study: Study, setup: Setup, figure: Figure, panel: Panel) -> Picture | None:
    """Precision over recall of the first seed of each row; None if nothing was measured."""
    found = {}
    for row, named in panel.rows:
        for record in records(row, setup)[:1]:
            evaluation = record["evaluation"].get(SIDES[row.side])
            if evaluation is not None:
                curve = evaluation["curve"]
                name = line_text(figure, named[figure.line]) + own_side(panel, row.side)
                # Lines of one panel that share their name are told apart by the row.
                name = f"{name} ({row.name})" if name in found else name
                found[name] = (curve["recall"], curve["precision"])
    if not found:
        return None
    picture = precision_recall_figure(found)
    picture.axes[0].set_ylabel(f"precision{side_text(panel)}")
    if panel.value:
        picture.axes[0].set_xlabel(f"recall, {drawable(panel_text(figure, panel.value), LONGEST)}")
    return picture


def loss(study: Study, setup: Setup, figure: Figure, panel: Panel) -> Picture | None:
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
    axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    axis.grid(alpha=0.3)
    axis.legend(frameon=False, fontsize=8)
    return picture


def parts(study: Study, setup: Setup, figure: Figure, panel: Panel) -> Picture | None:
    """mAP by parts of the code, of the first seed of each row; None if nothing was measured."""
    found: dict[str, Any] = {}
    for row, named in panel.rows:
        for record in records(row, setup)[:1]:
            parts = record["evaluation"].get(SIDES[row.side], {}).get("parts")
            if parts is not None:
                found[line_text(figure, named[figure.line])] = parts
    if not found:
        return None
    kinds = ("cumulative", "alone")
    picture = parts_figure(*({line: parts[k] for line, parts in found.items()} for k in kinds))
    picture.axes[0].set_ylabel(f"mAP{side_text(panel)}")
    return picture
