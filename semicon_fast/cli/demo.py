"""`semicon-fast demo`: the whole path on generated images, in a few minutes, without a download.

Trains SEMICON on small drawn birds whose classes differ in single parts, learns their codes,
searches and evaluates, and does the same with shuffled labels as a control.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from .common import console, facts_of, print_json, table
from .options import AsJson, Output, Resume

if TYPE_CHECKING:
    from ..report import Examples, Page
    from ..training import EncodedRun

COLUMNS = ("trained on", "database codes", "mAP", "precision within radius 2")


def demo(
    output: Output = Path("demo"),
    preset: Annotated[str, typer.Option(help="What to train.")] = "birdlets-48",
    control: Annotated[
        bool, typer.Option(help="Also train on shuffled labels, as a control.")
    ] = True,
    resume: Resume = False,
    as_json: AsJson = False,
) -> None:
    from .. import report
    from ..training import encoded_run, presets
    from ..viz import save_figure

    out = console(as_json)
    chosen = presets.preset(preset)
    out.print(f"[bold]1[/bold]  training {preset} in {output / 'run'}", highlight=False)
    result, finished = _train(chosen, output / "run", resume, out)
    runs = {"SEMICON": result}
    if control:
        out.print("[bold]2[/bold]  the same with shuffled labels, as a control", highlight=False)
        shuffled = chosen.override(["data.options.shuffle_labels=true"])
        runs["shuffled labels"] = _train(shuffled, output / "control", resume, out)[0]
    run = finished if finished is not None else encoded_run(output / "run")
    examples = report.of_run(run)
    picture = save_figure(report.pictures.grid_picture(run, examples), output / "retrieval.png")
    page = report.write(_page(run, examples, runs), output / "report.html")
    if as_json:
        print_json({"runs": runs, "picture": str(picture), "report": str(page)})
        return
    _report(out, runs)
    out.print(f"\nqueries and their nearest images: [bold]{picture}[/bold]", highlight=False)
    out.print(f"all of it on one page: [bold]{page}[/bold]", highlight=False)


def _train(
    config: Any, folder: Path, resume: bool, out: Console
) -> tuple[dict[str, Any], "EncodedRun | None"]:
    from ..training import Trainer, reporter

    trainer = Trainer(config, output=folder, resume=resume, reporter=reporter.RichReporter(out))
    return trainer.fit().to_dict(), trainer.encoded


def _rows(runs: dict[str, dict[str, Any]]) -> list[tuple[str, str, float, float]]:
    return [
        (name, way, figures["mAP"], figures["precision_within_radius_2"])
        for name, result in runs.items()
        for way, figures in result["evaluation"].items()
    ]


def _page(run: "EncodedRun", examples: "Examples", runs: dict[str, dict[str, Any]]) -> "Page":
    from .. import report
    from ..training import evaluate_encoded

    result = runs["SEMICON"]
    sentences = ["Trained on generated birds whose classes differ in single parts."]
    if len(runs) > 1:
        sentences.append(
            "The control was trained on shuffled labels: it shows what chance makes of the figures."
        )
    return report.run_page(
        run,
        evaluate_encoded(run)["evaluation"],
        examples,
        title="semicon-fast demo",
        sentences=sentences,
        tables={"Trained and control": (COLUMNS, _rows(runs))},
        facts=facts_of(result),
    )


def _report(out: Console, runs: dict[str, dict[str, Any]]) -> None:
    first = next(iter(runs.values()))
    out.print()
    out.print(table(first["protocol"], COLUMNS, _rows(runs)))
