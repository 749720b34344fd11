"""Writes the tables, figures and the page of a study from what was measured."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..files import atomic_write
from ..report import Page
from ..report import write as write_page
from ..text import markdown_table
from ..training import Reporter, command, versions
from ..viz import save_picture
from . import drawing, measured, pictures, saved
from .plan import Setup, study_command
from .study import Study

PAGE = "index.html"
SIDES = {
    "learned": "Database codes that are learned have seen the labels of the database images.",
    "encoded": "Database codes that are encoded come from the network or the method.",
    "centers": "Database codes that are centers are those of the images' classes, by their labels.",
}


def write(
    study: Study, setup: Setup, failed: Mapping[str, str], reporter: Reporter | None = None
) -> Path:
    """Write table.csv, table.md, runs.csv, the figures and index.html; returns the latter's path.

    failed: row -> why it failed. A picture that cannot be drawn is a warning.
    """
    folder = saved.folder_of_study(study, setup)
    columns, rows = measured.table(study, setup, failed)
    _write_csv(folder / "table.csv", columns, rows)
    lines = [list(line.values()) for line in _run_lines(study, setup)]
    _write_csv(folder / "runs.csv", measured.RUN_COLUMNS, lines)
    _write_text(folder / "table.md", _markdown(study, setup, failed))
    _write_text(folder / saved.SETUP, saved.text_of(study, setup, failed))
    figures: list[tuple[str, Any]] = []
    for drawn in drawing.figures(study, setup):
        save_picture(drawn.picture, folder, drawn.name, pictures.FORMATS)
        figures.append((drawn.caption, drawn.picture))
    try:
        figures += list(pictures.draw(study, setup, folder))
    except (ValueError, OSError) as error:
        (reporter or Reporter()).warning(f"pictures of {study.name} are missing: {error}")
    tables: dict[str, Any] = {
        "Table": measured.short_table(study, setup, study.chosen(setup.budget))
    }
    if missing := measured.not_run(study, setup, failed):
        tables["Rows without all of their values"] = (("row", "why, or how to run it"), missing)
    page = Page(
        f"{study.source}: {study.title}",
        sentences(study, setup),
        tables,
        figures,
        facts={
            "run": study_command(study, setup),
            "written by": command(),
            "versions": ", ".join(f"{name} {value}" for name, value in versions().items()),
        },
    )
    return write_page(page, folder / PAGE)


def sentences(study: Study, setup: Setup) -> list[str]:
    """What a reader of the table must know."""
    sides = {row.side for row in study.chosen(setup.budget)}
    said = [study.protocol, *(text for side, text in SIDES.items() if side in sides)]
    if setup.budget == "small":
        said.append(f"Small setting, not the published one. {study.small}")
    if not measured.comparable(study, setup):
        said.append("Values are not comparable with the published ones; no difference is given.")
    if setup.settings:
        said.append(f"Changed settings: {', '.join(setup.settings)}.")
    return [*said, *study.notes]


def show(output: Path | str, reporter: Reporter | None = None) -> list[Path]:
    """Write the tables, figures and pages of all studies of an output folder again; nothing is
    trained.

    Returns the paths of the pages. Raises ValueError if the folder has no study, or a damaged one.
    """
    return [write(*found, reporter) for found in saved.setups(Path(output))]


def _run_lines(study: Study, setup: Setup) -> list[dict[str, Any]]:
    found = measured.run_rows(study, setup)
    return [{name: line.get(name, "") for name in measured.RUN_COLUMNS} for line in found]


def _write_csv(path: Path, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([_text(value) for value in row] for row in rows)
    _write_text(path, text.getvalue())


def _write_text(path: Path, text: str) -> None:
    with atomic_write(path, "w") as file:
        file.write(text)


def _markdown(study: Study, setup: Setup, failed: Mapping[str, str]) -> str:
    columns, rows = measured.short_table(study, setup, study.chosen(setup.budget))
    paragraphs = [f"# {study.source}: {study.title}", *sentences(study, setup)]
    paragraphs.append(markdown_table(columns, rows))
    if missing := measured.not_run(study, setup, failed):
        paragraphs.append("\n".join(f"- {row}: {state}" for row, state in missing))
    return "\n\n".join(paragraphs) + "\n"


def _text(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:.4f}" if isinstance(value, float) else str(value)
