"""`semicon-fast visualize`: draw figures of a trained run, and write the table behind each.

Draws attention maps, channels before and after ICON, retrieval grids, curves, a histogram of the
outputs, and the mAP of each part.

Example:
  semicon-fast visualize runs/cub-12 runs/cub-48 -o pictures --format png,svg
"""

from collections import Counter
from pathlib import Path
from typing import Annotated

import typer

from ..data import listing
from ..data.passed_over import PassedOver, in_order
from ..files import check_folder
from ..report.kinds import KINDS
from ..viz.formats import FORMATS
from .arguments import check_run, choices
from .common import console, print_json, say, say_passed_over, table
from .options import AsJson, Output, Root


def visualize(
    runs: Annotated[
        list[Path],
        typer.Argument(
            help="Folder of a finished run; further runs, with other code lengths, add points to "
            "the figure over code length."
        ),
    ],
    output: Output,
    images: Annotated[
        list[Path] | None,
        typer.Option(
            help="Image, or folder of images, to show instead of queries of the run; may be given "
            "several times."
        ),
    ] = None,
    kinds: Annotated[
        str,
        typer.Option(
            "--kind", help=f"Figures to draw, separated by commas: {', '.join(KINDS)}, or all."
        ),
    ] = "all",
    formats: Annotated[
        str,
        typer.Option(
            "--format", help=f"File formats, separated by commas: {', '.join(FORMATS)}, or all."
        ),
    ] = "png",
    root: Root = None,
    as_json: AsJson = False,
) -> None:
    wanted = choices("--kind", kinds, list(KINDS))
    written = choices("--format", formats, FORMATS)
    from ..training import resume

    for folder in runs[1:]:
        resume.check_finished(folder, resume.RESULT)
    passed = PassedOver()
    paths = [Path(found.path) for found in listing.given(images or [], passed)]
    check_folder(output)
    check_run(runs[0], root)
    from .. import report
    from ..training import Result, encoded_run, evaluate_encoded
    from ..viz import save_picture

    others = [Result.of(folder) for folder in runs[1:]]
    run = encoded_run(runs[0], root=root)
    examples = report.of_paths(run, paths) if paths else report.of_run(run)
    evaluation = evaluate_encoded(run)["evaluation"]
    made = {}
    for kind, picture in report.run_pictures(run, examples, evaluation, others, wanted):
        files = save_picture(picture, output, kind, written)
        made[kind] = [str(path) for path in files]
    missing = [kind for kind in wanted if kind not in made]
    # Of the images that were given, and of the run's data set.
    passed_over = in_order(passed.counts + Counter(run.data.passed_over))
    if as_json:
        print_json({"pictures": made, "not_there": missing, "passed_over": passed_over})
        return
    endings = ", ".join(f".{ending}" for ending in (*written, "csv"))
    rows = [(kind, KINDS[kind]) for kind in made]
    out = console(False)
    out.print(table(f"Written to {output}/ as {endings}", ("file", "content"), rows))
    if missing:
        say(out, f"not available for this network: {', '.join(missing)}")
    say_passed_over(out, passed_over)
