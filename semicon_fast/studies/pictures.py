"""Pictures of the networks of a study: outputs, attention maps, channels, retrieval cases."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import torch

from .. import models, report
from ..report import examples
from ..report.pictures import channels_picture, grid_picture, maps_picture, outputs_picture, titles
from ..search import HammingIndex
from ..training import Config, EncodedRun, resume
from ..training.evaluation import load_data
from ..viz import Picture, save_picture
from .features import load_tensors
from .measured import labels
from .plan import ENCODED, MEASURED, Setup, config_of, folder_of
from .study import Row, Study, Train

FORMATS = ("png", "svg")
KINDS = {
    "outputs": "outputs of the network before the sign",
    "maps": "attention maps",
    "channels": "channels before and after ICON",
    "cases": "failed and successful queries",
}
CASES, HITS = 3, 10


def draw(study: Study, setup: Setup, folder: Path) -> Iterator[tuple[str, Path]]:
    """(caption, SVG file) of each picture of a network that was measured.

    A picture that is newer than what was measured is kept, so that the images are not needed again.
    """
    for figure in study.figures:
        if figure.kind not in KINDS:
            continue
        for row in study.chosen(setup.budget):
            work = row.of(setup.budget)
            if not isinstance(work, Train):
                continue
            run = folder_of(work, 0, setup)
            if not (run / MEASURED).is_file():
                continue
            path = folder / f"{figure.kind}-{row.name}.svg"
            if not path.is_file() or path.stat().st_mtime < (run / MEASURED).stat().st_mtime:
                opened = open_run(run, config_of(work, 0, setup))
                picture = _picture(figure.kind, opened)
                if picture is None:
                    continue
                save_picture(picture, folder, path.stem, FORMATS)
            yield _caption(study, row, setup, figure.kind), path


def open_run(folder: Path, config: Config) -> EncodedRun:
    """A run with its codes, which are not computed again."""
    codes, _ = load_tensors(folder / ENCODED)
    model = models.load(folder / resume.MODEL, config.model.code_length)
    data = load_data(config.data)
    return EncodedRun(data, config, model, codes["queries"], codes["database"], None)


def cases(run: EncodedRun, count: int = CASES, hits: int = HITS) -> tuple[list[int], list[int]]:
    """Queries and how many of their first hits are relevant: failed ones, then successful ones.

    Failed ones have the fewest relevant hits, successful ones the most; those of each kind are of
    different classes as far as there are so many, and equal ones come in the order of the data set.
    """
    index = HammingIndex(run.bits)
    index.add(run.database)
    _, ids = index.search(run.queries, min(hits, len(run.database)))
    found = run.data.database.labels[torch.as_tensor(ids)]
    asked = run.data.query.labels
    if asked.ndim == 1:
        right = (found == asked[:, None]).sum(1)
        kinds = asked.tolist()
    else:
        right = (found & asked[:, None]).any(2).sum(1)
        kinds = asked.to(torch.int64).argmax(1).tolist()
    chosen: list[int] = []
    for scores in (right, -right):
        order = scores.argsort(stable=True).tolist()
        first: dict[int, int] = {}
        for position in order:
            first.setdefault(kinds[position], position)
        several = list(first.values())[:count]
        several += [p for p in order if p not in several][: count - len(several)]
        chosen += several
    return chosen, right[chosen].tolist()


def _picture(kind: str, run: EncodedRun) -> Picture | None:
    if kind == "outputs":
        return outputs_picture(run)
    if kind == "maps":
        return maps_picture(report.of_run(run))
    if kind == "channels":
        return channels_picture(report.of_run(run))
    rows, right = cases(run)
    shown = examples.of_queries(run, rows, HITS)
    names = [f"{title}, {n} of {HITS}" for title, n in zip(titles(shown), right, strict=True)]
    return grid_picture(run, shown, names)


def _caption(study: Study, row: Row, setup: Setup, kind: str) -> str:
    return f"{study.source}, {KINDS[kind]}: {', '.join(labels(study, row, setup))}"
