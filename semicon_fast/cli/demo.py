"""`semicon-fast demo`: the whole path on generated images, in a few minutes, without a download.

Trains SEMICON on small drawn birds whose classes differ in single parts, learns their codes,
searches and evaluates, and does the same with shuffled labels as a control.
"""

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from .common import console, errors_as_sentences, help_of, print_json, table

QUERIES, HITS = 6, 10


def register(app: typer.Typer) -> None:
    app.command("demo", help=help_of(__doc__))(demo)


@errors_as_sentences
def demo(
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Folder for the runs and the picture.")
    ] = Path("demo"),
    preset: Annotated[str, typer.Option(help="What to train.")] = "birdlets-48",
    control: Annotated[
        bool, typer.Option(help="Also train on shuffled labels, as a control.")
    ] = True,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with a stopped demo.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    from ..training import presets

    out = console(as_json)
    chosen = presets.preset(preset)
    out.print(f"[bold]1[/bold]  training {preset} in {output / 'run'}", highlight=False)
    runs = {"SEMICON": _train(chosen, output / "run", resume, out)}
    if control:
        out.print("[bold]2[/bold]  the same with shuffled labels, as a control", highlight=False)
        shuffled = chosen.override(["data.options.shuffle_labels=true"])
        runs["shuffled labels"] = _train(shuffled, output / "control", resume, out)
    picture = _picture(output / "run", output / "retrieval.png")
    if as_json:
        print_json({"runs": runs, "picture": str(picture)})
        return
    _report(out, runs)
    out.print(f"\nqueries and their nearest images: [bold]{picture}[/bold]", highlight=False)


def _train(config: Any, folder: Path, resume: bool, out: Console) -> dict[str, Any]:
    from ..training import Trainer, reporter

    trainer = Trainer(config, output=folder, resume=resume, reporter=reporter.RichReporter(out))
    return trainer.fit().to_dict()


def _report(out: Console, runs: dict[str, dict[str, Any]]) -> None:
    rows = [
        (name, way, figures["mAP"], figures["precision_within_radius_2"])
        for name, result in runs.items()
        for way, figures in result["evaluation"].items()
    ]
    first = next(iter(runs.values()))
    columns = ("trained on", "database codes", "mAP", "precision within radius 2")
    out.print()
    out.print(table(first["protocol"], columns, rows))


def _picture(run: Path, path: Path) -> Path:
    """The first queries of different classes and their nearest database images."""
    from ..search import HammingIndex
    from ..training import encoded_run
    from ..viz import retrieval_grid, save_figure

    codes = encoded_run(run)
    data = codes.data
    index = HammingIndex(codes.bits)
    index.add(codes.database)
    chosen = _one_a_class(data.query.labels.tolist())
    distances, ids = index.search(codes.queries[chosen], HITS)
    figure = retrieval_grid(
        [data.query.image(i) for i in chosen],
        [[data.database.image(int(j)) for j in row] for row in ids],
        distances.tolist(),
        [
            [bool(data.database.labels[int(j)] == data.query.labels[i]) for j in row]
            for i, row in zip(chosen, ids, strict=True)
        ],
        query_names=[data.query.classes[int(data.query.labels[i])] for i in chosen],
        title=f"{data.name}, {codes.bits} bits: queries and their {HITS} nearest images",
    )
    return save_figure(figure, path)


def _one_a_class(labels: list[int]) -> list[int]:
    seen: dict[int, int] = {}
    for position, label in enumerate(labels):
        seen.setdefault(label, position)
    return sorted(seen.values())[:QUERIES]
