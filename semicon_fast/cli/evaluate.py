"""`semicon-fast evaluate`: compute mean average precision and related figures.

Evaluates a finished run, or one gallery as queries against another as database. The images of
galleries must have been encoded from folders named by class, or from lists with labels; images
without a label are left out of the queries, and relevant to nothing in the database.

The codes of a run's database can be learned, the centers of the images' classes, or encoded by the
network. Figures of one side cannot be compared with those of another, so each that the run has is
reported apart.

Examples:
  semicon-fast evaluate --run runs/cub-48
  semicon-fast evaluate --run runs/cub-48 --database encoded
  semicon-fast evaluate --queries test_gallery --database train_gallery
  semicon-fast evaluate --queries gallery --database gallery --leave-one-out
"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from ..files import check_file
from ..search.gallery_files import read_about
from ..training.sides import SIDES, SYMMETRIC
from .arguments import DENOMINATORS, check_choice, check_picture, check_run
from .common import console, facts_of, print_json, say, say_passed_over, table
from .options import PICTURE_FORMATS, AsJson, Root

if TYPE_CHECKING:
    from ..report import Page
    from ..training import EncodedRun


def evaluate(
    run: Annotated[Path | None, typer.Option(help="Folder of a finished run.")] = None,
    queries: Annotated[Path | None, typer.Option(help="Gallery of the queries.")] = None,
    database: Annotated[
        Path | None,
        typer.Option(
            help="Gallery to search; with --run the codes of its database: "
            f"{', '.join(SIDES)}, by default each that it has."
        ),
    ] = None,
    root: Root = None,
    topk: Annotated[
        int | None, typer.Option(min=1, help="Compute mAP over the first K hits only.")
    ] = None,
    denominator: Annotated[
        str,
        typer.Option(help=f"Denominator of mAP with --topk: {', '.join(DENOMINATORS)}."),
    ] = "retrieved",
    leave_one_out: Annotated[
        bool,
        typer.Option(
            "--leave-one-out",
            help="Leave each query that is in the database, by name, out of its own ranking.",
        ),
    ] = False,
    page: Annotated[
        Path | None,
        typer.Option(
            "--report",
            help="Report page to write; by default evaluation.html in the folder of the run or of "
            "the database gallery.",
        ),
    ] = None,
    curve: Annotated[
        Path | None,
        typer.Option(help=f"Draw the precision-recall curve to this file ({PICTURE_FORMATS})."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    check_choice("--denominator", denominator, DENOMINATORS)
    check_picture(curve)
    if run is not None:
        if queries:
            raise ValueError("give --run, or --queries and --database, not both")
        if database is not None:
            check_choice("--database with --run", str(database), tuple(SIDES))
        check_run(run, root)
        target = page or run / "evaluation.html"
    elif queries is not None and database is not None:
        makers = [read_about(folder).get("model_sha256") for folder in (queries, database)]
        if None not in makers and makers[0] != makers[1]:
            raise ValueError(
                f"{queries} and {database} hold codes of different models, which have no "
                "distances in common: encode one of them again"
            )
        target = page or database / "evaluation.html"
    else:
        raise ValueError("say what to evaluate: --run, or --queries and --database")
    check_file(target)
    from .. import distributed, report

    if run is not None:
        from ..training import encoded_run, evaluate_encoded

        side = None if database is None else str(database)
        found = encoded_run(run, root=root, database=side)
        result = distributed.on_main(
            lambda: evaluate_encoded(
                found,
                topk=topk,
                denominator=denominator,
                leave_one_out=leave_one_out,
                database=side,
            )
        )
        if not distributed.is_main():
            return
        report.write(_run_page(found, result), target)
    else:
        assert queries is not None and database is not None
        result = _galleries(queries, database, topk, denominator, leave_one_out)
        report.write(_galleries_page(result), target)
    if curve is not None:
        _draw(curve, result)
    if as_json:
        print_json(result)
        return
    out = console(False)
    for way, figures in result["evaluation"].items():
        rows = [(k, v) for k, v in figures.items() if isinstance(v, (int, float))]
        out.print(table(f"{way} ({result['protocol']})", ("figure", "value"), rows))
        for kind, scores in figures.get("parts", {}).items():
            out.print()
            out.print(table(f"mAP by part, {kind}", ("part", "mAP"), list(scores.items())))
        out.print()
    say(out, "report page: ", (target, "bold"))
    for note in _notes(result):
        say(out, note)
    say_passed_over(out, result["passed_over"])


def _run_page(found: "EncodedRun", result: dict[str, Any]) -> "Page":
    from .. import report
    from ..training import command, versions

    return report.run_page(
        found,
        result["evaluation"],
        report.of_run(found),
        title=f"Evaluation: {found.data.name}, {found.bits} bits",
        sentences=_notes(result),
        facts=facts_of({"command": command(), "versions": versions()}),
    )


def _galleries_page(result: dict[str, Any]) -> "Page":
    from ..report.page import Page, figure_tables
    from ..report.pictures import curve_picture
    from ..training import command, versions

    return Page(
        "Evaluation of a gallery",
        [result["protocol"], *_notes(result)],
        figure_tables(result["evaluation"]),
        [("Precision-recall curve, one point per radius", curve_picture(result["evaluation"]))],
        facts=facts_of({"command": command(), "versions": versions()}),
    )


def _galleries(
    queries: Path, database: Path, topk: int | None, denominator: str, leave_one_out: bool
) -> dict[str, Any]:
    from rich.progress import Progress

    from .. import metrics
    from ..search.gallery import Gallery

    asked, searched = Gallery.open(queries), Gallery.open(database)
    out = Console(stderr=True)
    with Progress(console=out, transient=True, disable=not out.is_terminal) as shown:
        task = shown.add_task("evaluate", total=sum(label != "" for label in asked.labels))
        found = metrics.evaluate_galleries(
            asked,
            searched,
            leave_one_out=leave_one_out,
            topk=topk,
            denominator=denominator,
            ties="expected",
            all_ties=True,
            curve=True,
            progress=lambda queries: shown.advance(task, queries),
        )
    figures = found.pop("metrics")
    protocol = f"query = {queries} ({len(asked):,}), database = {database} ({len(searched):,})"
    evaluation = {SYMMETRIC: figures}
    return {"protocol": protocol, "evaluation": evaluation, **found, "passed_over": {}}


def _notes(result: dict[str, Any]) -> list[str]:
    """What the figures do not say: queries that find themselves, and images without a label."""
    notes = []
    if shared := result["queries_in_database"]:
        queries = next(iter(result["evaluation"].values()))["queries"]
        effect = (
            "is left out of its own ranking"
            if result["left_out"]
            else "finds itself first; --leave-one-out leaves each out of its own ranking"
        )
        notes.append(f"{shared:,} of {queries:,} queries are in the database: each {effect}")
    if count := result.get("unlabelled_queries"):
        notes.append(f"{count:,} queries without a label are left out")
    if count := result.get("unlabelled_database"):
        notes.append(f"{count:,} images of the database without a label are relevant to nothing")
    return notes


def _draw(path: Path, result: dict[str, Any]) -> None:
    from ..report.pictures import curve_picture
    from ..viz import save_figure

    save_figure(curve_picture(result["evaluation"]), path)
