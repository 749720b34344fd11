"""`semicon-fast visualize`: pictures of a trained run, each with the table behind it.

Attention maps, channels around ICON, retrieval grids, curves, outputs, and the share of each part.
Example: semicon-fast visualize runs/cub-12 runs/cub-48 -o pictures --format png,svg
"""

from pathlib import Path
from typing import Annotated

import typer

from .common import console, errors_as_sentences, help_of, print_json, table

KINDS = "maps, channels, grid, curve, lengths, outputs, parts"


def register(app: typer.Typer) -> None:
    app.command("visualize", help=help_of(__doc__))(visualize)


@errors_as_sentences
def visualize(
    runs: Annotated[
        list[Path],
        typer.Argument(
            help="Folder that `train` wrote; others with codes of other lengths add points to "
            "the picture over code length."
        ),
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder to write into.")],
    images: Annotated[
        list[Path] | None,
        typer.Option(help="Images to show instead of the first queries; any number of times."),
    ] = None,
    kinds: Annotated[str, typer.Option("--kind", help=f"By commas, of {KINDS}; or all.")] = "all",
    formats: Annotated[str, typer.Option("--format", help="png, svg, pdf, by commas.")] = "png",
    root: Annotated[
        str | None, typer.Option(help="Where the run's data set lies now, if it moved.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    from .. import report
    from ..search.gallery import images_below
    from ..training import Result, encoded_run, evaluate_encoded
    from ..viz import FORMATS, save_picture

    wanted = _choice("--kind", kinds, list(report.KINDS))
    written = _choice("--format", formats, list(FORMATS))
    others = [Result.of(folder) for folder in runs[1:]]
    paths = images_below(images)[0] if images else []
    run = encoded_run(runs[0], root=root)
    examples = report.of_paths(run, paths) if paths else report.of_run(run)
    evaluation = evaluate_encoded(run)["evaluation"]
    made = {}
    for kind, picture in report.run_pictures(run, examples, evaluation, others, wanted):
        files = save_picture(picture, output, kind, written)
        made[kind] = [str(path) for path in files]
    missing = [kind for kind in wanted if kind not in made]
    if as_json:
        print_json({"pictures": made, "not_there": missing})
        return
    endings = ", ".join(f".{ending}" for ending in (*written, "csv"))
    rows = [(kind, report.KINDS[kind]) for kind in made]
    console(False).print(table(f"{output}/, each as {endings}", ("name", "what it shows"), rows))
    if missing:
        console(False).print(f"the network has nothing to show for: {', '.join(missing)}")


def _choice(option: str, given: str, known: list[str]) -> list[str]:
    """Comma-separated names in the order of `known`; "all" is all of them."""
    names = known if given == "all" else [name.strip() for name in given.split(",")]
    if unknown := [name for name in names if name not in known]:
        raise ValueError(f"{option} must be among {', '.join(known)}, got {unknown[0]!r}")
    return [name for name in known if name in names]
