"""What was measured of a work, and the tables that are made of it beside the paper's numbers."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import mean, pstdev
from typing import Any, NamedTuple

from ..files import atomic_write
from ..training.sides import SIDES
from .plan import MEASURED, RUNS, Setup, config_of, folder_of, source_of, study_command
from .study import Missing, Row, Study

FORMAT = 1
# What people read of metrics.
METRICS = {"precision_within_radius_2": "precision within radius 2"}
# The columns of the table of single runs.
RUN_COLUMNS = (
    "study", "row", "seed", "data", "network", "method", "bits", "database codes", "mAP",
    "mAP_stable", "precision_within_radius_2", "selection", "protocol", "training seconds",
    "device", "torch", "semicon_fast", "command",
)  # fmt: skip


class Cell(NamedTuple):
    """A value of a row: its mean over the seeds, their spread, and the paper's number."""

    ours: float | None
    spread: float | None
    published: float | None

    @property
    def difference(self) -> float | None:
        if self.ours is None or self.published is None:
            return None
        return self.ours - self.published


def write(folder: Path, content: Mapping[str, Any]) -> None:
    """Write what was measured of the work in this folder."""
    with atomic_write(folder / MEASURED, "w") as file:
        file.write(json.dumps({"format": FORMAT, **content}, indent=1) + "\n")


def read(folder: Path) -> dict[str, Any] | None:
    """What was measured of the work in this folder; None if nothing was. ValueError if damaged."""
    path = folder / MEASURED
    if not path.is_file():
        return None
    try:
        found: dict[str, Any] = json.loads(path.read_text("utf-8"))
        if found["format"] != FORMAT:
            raise ValueError(f"its format is {found['format']}, this version reads {FORMAT}")
        return found
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path} is damaged: {error}; delete it to measure again") from None


def records(row: Row, setup: Setup) -> list[dict[str, Any]]:
    """What was measured of a row, one for each seed that is done."""
    work = row.of(setup.budget)
    if work is None or isinstance(work, Missing):
        return []
    found = (read(folder_of(work, number, setup)) for number in range(setup.seeds))
    return [record for record in found if record is not None]


def values(row: Row, setup: Setup, metric: str) -> list[float]:
    """The row's metric on its side of the database, one for each seed that is done."""
    way = SIDES[row.side]
    evaluations = (record["evaluation"].get(way, {}) for record in records(row, setup))
    return [evaluation[metric] for evaluation in evaluations if metric in evaluation]


def cell(row: Row, setup: Setup, metric: str) -> Cell:
    """The row's value of a metric."""
    found = values(row, setup, metric)
    return Cell(
        mean(found) if found else None,
        pstdev(found) if len(found) > 1 else None,
        row.published.get(metric),
    )


def comparable(study: Study, setup: Setup) -> bool:
    """Whether values may be compared with the published ones: same data, and same protocol."""
    other_data = any(setting.startswith("data.name=") for setting in setup.settings)
    if setup.budget == "paper":
        return not other_data
    return study.comparable and bool(setup.roots) and not other_data


def labels(study: Study, row: Row, setup: Setup) -> tuple[str, ...]:
    """The row's labels, where in the small setting the user's data set stands for the paper's."""
    work = row.of(setup.budget)
    source = None if work is None else source_of(work)
    if comparable(study, setup) or "data" not in study.columns or source is None:
        return row.labels
    data = config_of(source, 0, setup).data
    own = Path(data.root).name if data.root else data.name
    number = study.columns.index("data")
    return (*row.labels[:number], own, *row.labels[number + 1 :])


def table(
    study: Study, setup: Setup, failed: Mapping[str, str]
) -> tuple[list[str], list[list[Any]]]:
    """(columns, rows) of the study's table, with None for what is not known.

    For each metric: the mean over the seeds, their spread (population standard deviation, for
    several seeds), the published number, and ours less that where they can be compared. The last
    column says for a row that was not run why, or how to run it.
    """
    columns = ["row", *study.columns, "database codes"]
    for metric in study.metrics:
        columns += [metric, f"{metric} spread", f"{metric} published", f"{metric} difference"]
    columns += ["seeds", "state"]
    body = [_line(study, row, setup, failed) for row in study.chosen(setup.budget)]
    return columns, body


def short_table(
    study: Study, setup: Setup, rows: Sequence[Row], by_name: bool = False
) -> tuple[list[str], list[list[Any]]]:
    """(columns, rows) of the table as people read it, with the spread beside the mean.

    by_name: rows are told apart by their names in place of their labels.
    """
    columns = ["row"] if by_name else list(study.columns)
    columns.append("database codes")
    printed = any(row.published for row in rows)
    compared = printed and comparable(study, setup)
    for metric in study.metrics:
        columns.append(METRICS.get(metric, metric))
        columns += ["published"] * printed + ["difference"] * compared
    body: list[list[Any]] = []
    for row in rows:
        line = [row.name] if by_name else list(labels(study, row, setup))
        line.append(row.side)
        for metric in study.metrics:
            found = cell(row, setup, metric)
            spread = "" if found.spread is None else f" ± {found.spread:.4f}"
            line.append("" if found.ours is None else f"{found.ours:.4f}{spread}")
            line += [_digits(found.published)] * printed
            line += [_digits(found.difference, "+")] * compared
        body.append(line)
    return columns, body


def not_run(study: Study, setup: Setup, failed: Mapping[str, str]) -> list[tuple[str, str]]:
    """(row, why it was not run or how to run it) of each row that has not all of its values."""
    rows = study.chosen(setup.budget)
    states = (
        (row.name, _state(study, row, setup, failed, _done(study, row, setup))) for row in rows
    )
    return [(name, state) for name, state in states if state]


def _digits(value: float | None, sign: str = "") -> str:
    return "" if value is None else f"{value:{sign}.4f}"


def _done(study: Study, row: Row, setup: Setup) -> int:
    """How many seeds of a row have its values."""
    return max(len(values(row, setup, metric)) for metric in study.metrics)


def _line(study: Study, row: Row, setup: Setup, failed: Mapping[str, str]) -> list[Any]:
    line: list[Any] = [row.name, *labels(study, row, setup), SIDES[row.side]]
    done = _done(study, row, setup)
    for metric in study.metrics:
        found = cell(row, setup, metric)
        difference = found.difference if comparable(study, setup) else None
        line += [found.ours, found.spread, found.published, difference]
    return [*line, done, _state(study, row, setup, failed, done)]


def _state(study: Study, row: Row, setup: Setup, failed: Mapping[str, str], done: int) -> str:
    work = row.of(setup.budget)
    if isinstance(work, Missing):
        return work.reason
    if done == setup.seeds:
        return ""
    if row.name in failed:
        return f"failed: {failed[row.name]}"
    if done == 0 and records(row, setup):
        return f"this method has no {SIDES[row.side]}"
    return f"to run: {study_command(study, setup, (row.name,))}"


def run_rows(study: Study, setup: Setup) -> Iterator[dict[str, Any]]:
    """A line for each row, seed and side of the database that was measured, by `RUN_COLUMNS`."""
    for row in study.chosen(setup.budget):
        for record in records(row, setup):
            for way, found in record["evaluation"].items():
                line = {"study": study.name, "row": row.name, "database codes": way}
                line |= {name: found[name] for name in RUN_COLUMNS if name in found}
                yield line | {k: v for k, v in record.items() if k in RUN_COLUMNS}


def runs_folder(setup: Setup) -> Path:
    """The folder of all works."""
    return setup.output / RUNS
