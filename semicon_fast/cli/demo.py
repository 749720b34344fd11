"""`semicon-fast demo`: train, search and evaluate on generated images, in about a minute.

Nothing is downloaded. A small SEMICON network is trained on drawn birds whose classes differ in
single parts; its codes are searched and evaluated, and a page shows the result. The first time,
the native kernels are compiled before the training.
"""

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer
from rich.console import Console

from .common import console, facts_of, print_json, say, table
from .options import AsJson, Output, Resume

if TYPE_CHECKING:
    from ..native.background import BackgroundBuild
    from ..report import Page
    from ..training import Config, EncodedRun

COLUMNS = ("codes of", "database codes", "mAP", "precision within radius 2")
CHANCE = "chance"


def demo(
    output: Output = Path("demo"),
    preset: Annotated[
        str, typer.Option(help="Configuration to train; `info` lists them.")
    ] = "birdlets-small-48",
    control: Annotated[
        bool,
        typer.Option(help="Also train on shuffled labels, to show what chance gives."),
    ] = False,
    seed: Annotated[
        int | None, typer.Option(min=0, help="Seed of the training; by default the preset's.")
    ] = None,
    resume: Resume = False,
    as_json: AsJson = False,
) -> None:
    from ..training import presets
    from ..training.resume import refuse_used

    chosen = presets.preset(preset)
    if seed is not None:
        chosen = chosen.override([f"run.seed={seed}"])
    if not resume:
        refuse_used(output / "run")
    from .. import native

    build = native.start_build()
    from .. import report
    from ..viz import save_figure

    out = console(as_json)
    if build is not None:
        _show(build, out)
    say(out, f"training {preset} in {output / 'run'}")
    trained = _train(chosen, output / "run", resume, out)
    runs = {"SEMICON": trained.result}
    if control:
        say(out, "the same with shuffled labels")
        shuffled = chosen.override(["data.options.shuffle_labels=true"])
        runs["shuffled labels"] = _train(shuffled, output / "control", resume, out).result
    run = trained.encoded()
    rows = [*_rows(runs), _chance(run)]
    examples = report.of_run(run)
    picture = save_figure(report.pictures.grid_picture(run, examples), output / "retrieval.png")
    page = report.write(_page(run, examples, trained.result, rows), output / "report.html")
    birds = _save_queries(run, output / "birds")
    if as_json:
        print_json({"runs": runs, "picture": str(picture), "report": str(page)})
        return
    out.print()
    out.print(table(trained.result["protocol"], COLUMNS, rows))
    _say_next(out, output, page, picture, birds)


class _Trained(NamedTuple):
    """folder, what result.json holds, and the run with its codes if it was trained just now."""

    folder: Path
    result: dict[str, Any]
    finished: "EncodedRun | None"

    def encoded(self) -> "EncodedRun":
        from ..training import encoded_run

        return self.finished if self.finished is not None else encoded_run(self.folder)


def _show(build: "BackgroundBuild", out: Console) -> None:
    """Shows how far the build is until it is done."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn()
    with Progress(*columns, TimeElapsedColumn(), console=out, transient=True) as bar:
        task = bar.add_task("compiling native kernels, the first time only")
        while not build.wait(0.2):
            compiled, total = build.progress()
            bar.update(task, completed=compiled, total=total)


def _train(config: "Config", folder: Path, resume: bool, out: Console) -> _Trained:
    from ..training import Trainer, reporter

    trainer = Trainer(config, output=folder, resume=resume, reporter=reporter.RichReporter(out))
    return _Trained(folder, trainer.fit().to_dict(), trainer.encoded)


def _rows(runs: dict[str, dict[str, Any]]) -> list[tuple[str, str, float, float]]:
    return [
        (name, way, figures["mAP"], figures["precision_within_radius_2"])
        for name, result in runs.items()
        for way, figures in result["evaluation"].items()
    ]


def _chance(run: "EncodedRun") -> tuple[str, str, float, float]:
    """What the same codes give when the database's labels are shuffled among its images."""
    import torch

    from ..metrics import mean_average_precision, precision_within_radius
    from ..training.sides import SYMMETRIC

    labels = run.data.database.labels
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(0))
    operands = (run.queries, run.database, run.data.query.labels, labels[order])
    score = mean_average_precision(*operands, bits=run.bits, ties="expected")
    return CHANCE, SYMMETRIC, score, precision_within_radius(*operands, bits=run.bits)


def _page(run: "EncodedRun", examples: Any, result: dict[str, Any], rows: list[Any]) -> "Page":
    from .. import report
    from ..training import evaluate_encoded

    return report.run_page(
        run,
        evaluate_encoded(run)["evaluation"],
        examples,
        title="semicon-fast demo",
        sentences=[
            "A small SEMICON network, trained on generated birds whose classes differ in single "
            "parts.",
            f'The row "{CHANCE}" evaluates the same codes after the labels of the database were '
            "shuffled.",
        ],
        tables={"Retrieval": (COLUMNS, rows)},
        facts=facts_of(result),
    )


def _save_queries(run: "EncodedRun", folder: Path) -> Path:
    """The query images as files, a folder a class, for the commands that a person tries next."""
    from PIL import Image

    from ..files import atomic_write

    query = run.data.query
    for row in range(len(query)):
        path = folder / query.classes[int(query.labels[row])] / f"{row:04}.png"
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            image = Image.fromarray(query.image(row).permute(1, 2, 0).numpy())
            with atomic_write(path) as file:
                image.save(file, "PNG")
    return folder


def _say_next(out: Console, output: Path, page: Path, picture: Path, birds: Path) -> None:
    run, photos, gallery = (
        shlex.quote(str(path)) for path in (output / "run", birds, output / "gallery")
    )
    lines = [
        "",
        f"queries and their nearest images: {picture}",
        f"all of it on one page: {page}",
        "",
        "Next, search these birds in the browser (pip install 'semicon_fast[serve]'):",
        f"  semicon-fast encode {run} {photos} -o {gallery} && semicon-fast serve {gallery}",
        "or train on a folder of your own photos, with a sub-folder a class:",
        "  semicon-fast train --preset folder-small-48 --root PHOTOS -o runs/photos",
    ]
    for line in lines:
        say(out, line)
