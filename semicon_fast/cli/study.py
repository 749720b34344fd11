"""`semicon-fast study`: the tables and figures of the papers, one command each."""

from pathlib import Path
from typing import Annotated, Any

import typer

from .. import torchrun
from ..data.roots import existing_folder
from ..files import check_folder
from ..studies.study import BUDGETS, Budget, Missing, Study
from .arguments import check_choice
from .common import console, errors_as_sentences, help_of, print_json, say, table
from .options import AsJson, Output

FAILED = 1

LIST = """study list: show the studies, how many rows they have, and what they cost.

Example:
  semicon-fast study list
"""
RUN = """study run: train or resume what a study is missing, and write its tables and figures.

What was stopped goes on where it was, what is done is not repeated, and networks that several rows
or studies of an output folder share are trained once. A row that fails is named, and the others are
done; the exit code is then 1.

Examples:
  semicon-fast study run semicon-table1 --root DATA -o studies --only cub-12
  semicon-fast study run semicon-table2 --root photos -o studies --budget small --seeds 3
  semicon-fast study run dsh-table3 --root cifar10 -o studies --budget small --dry-run
"""
SHOW = """study show: write the tables and figures again from what is there, without training.

Example:
  semicon-fast study show studies
"""

Name = Annotated[str, typer.Argument(help="Study; `semicon-fast study list` has the names.")]


def list_studies(as_json: AsJson = False) -> None:
    from ..studies import catalog, plan

    rows = []
    for name in catalog.names():
        study = catalog.study_of(name)
        costs = [plan.cost(study, budget) for budget in BUDGETS]
        rows.append((study, costs))
    if as_json:
        print_json({study.name: _facts(study, costs) for study, costs in rows})
        return
    columns = ("study", "rows", *(f"{budget}: networks, images in passes" for budget in BUDGETS))
    shown = [(study.name, len(study.rows), *map(_cost_text, costs)) for study, costs in rows]
    console(False).print(table("studies", columns, shown))


def _facts(study: Study, costs: list[tuple[int, int]]) -> dict[str, Any]:
    return {
        "title": study.title,
        "source": study.source,
        "protocol": study.protocol,
        "small": study.small,
        "rows": [row.name for row in study.rows],
        "cost": {
            budget: {"networks": networks, "image passes": images}
            for budget, (networks, images) in zip(BUDGETS, costs, strict=True)
        },
    }


def _cost_text(cost: tuple[int, int]) -> str:
    networks, images = cost
    return f"{networks}, {images / 1e6:,.3g} million" if images else str(networks)


def run_study(
    name: Name,
    output: Output,
    root: Annotated[
        list[str] | None,
        typer.Option(
            help="Folder of the data set, or one with a folder for each data set by its name; or "
            "NAME=FOLDER for one data set. May be given several times."
        ),
    ] = None,
    only: Annotated[
        list[str] | None,
        typer.Option(
            help="Row to run, the first parts of the names of rows (cub-12), or a pattern "
            "(*-48-*); may be given several times.",
            metavar="ROW",
        ),
    ] = None,
    budget: Annotated[
        str,
        typer.Option(
            help="paper: the published settings. small: the same rows within a CPU's "
            "hours; generated images where no --root is given."
        ),
    ] = "paper",
    seeds: Annotated[
        int, typer.Option(min=1, help="Repetitions with different seeds: mean and spread.")
    ] = 1,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            help="Change a setting of every run, as in schedule.iterations=20.",
            metavar="KEY=VALUE",
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the plan and what is done already, and exit.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    from ..studies import catalog, plan, saved

    study = catalog.study_of(name)
    check_choice("--budget", budget, BUDGETS)
    setup = plan.Setup(output, _roots(root or []), _budget(budget), seeds, tuple(settings or ()))
    chosen = tuple(only or ())
    planned = plan.jobs(study, setup, chosen)
    check_folder(output)
    if not dry_run:
        plan.check_roots(planned)
    if torchrun.launched():
        raise ValueError("a study runs in one process, start it without torchrun")
    if dry_run:
        _show_plan(study, setup, planned, chosen, as_json)
        return
    from ..studies import output as outputs
    from ..studies import runner
    from ..training import reporter

    out = console(as_json)
    failed = runner.run(study, setup, chosen, reporter=reporter.RichReporter(out))
    page = saved.folder_of_study(study, setup) / outputs.PAGE
    _show_result(study, setup, chosen, failed, page, as_json)
    if failed:
        for row, reason in failed.items():
            say(console(True), (f"{row} failed: ", "red"), reason)
        raise typer.Exit(FAILED)


def show_studies(
    output: Annotated[Path, typer.Argument(help="Output folder of `semicon-fast study run`.")],
    as_json: AsJson = False,
) -> None:
    from ..studies import saved

    saved.setups(output)
    from ..studies import output as outputs
    from ..training import reporter

    pages = outputs.show(output, reporter.RichReporter(console(as_json)))
    if as_json:
        print_json({"pages": [str(page) for page in pages]})
        return
    out = console(False)
    for page in pages:
        say(out, "page: ", (page, "bold"))


def _budget(given: str) -> Budget:
    return "small" if given == "small" else "paper"


def _roots(given: list[str]) -> dict[str, str]:
    """Data set -> its folder, "" -> that of all others. Each must be an existing folder."""
    found: dict[str, str] = {}
    for text in given:
        name, equals, path = text.partition("=")
        named = equals and name.isidentifier() and not Path(text).exists()
        key, folder = (name, path) if named else ("", text)
        if key in found:
            raise ValueError(f"--root is given twice for {key or 'all data sets'}")
        existing_folder(folder)
        found[key] = folder
    return found


def _show_plan(study: Study, setup: Any, planned: list[Any], only: Any, as_json: bool) -> None:
    missing = {
        row.name: work.reason
        for row in study.chosen(setup.budget, only)
        if isinstance(work := row.of(setup.budget), Missing)
    }
    if as_json:
        jobs = [
            {
                "folder": str(job.folder),
                "state": job.state,
                "command": job.command,
                "rows": list(job.rows),
                "needs": [str(need) for need in job.needs],
            }
            for job in planned
        ]
        print_json({"study": study.name, "jobs": jobs, "cannot be run": missing})
        return
    out = console(False)
    say(out, f"{study.name}: {study.title}")
    for job in planned:
        say(out, (job.folder, "bold"), f": {job.state}, for {', '.join(job.rows)}")
        say(out, f"  {job.command}")
    for row, reason in missing.items():
        say(out, f"{row}: {reason}")


def _show_result(
    study: Study, setup: Any, chosen: tuple[str, ...], failed: Any, page: Path, as_json: bool
) -> None:
    from ..studies import measured

    if as_json:
        columns, rows = measured.table(study, setup, failed)
        named = [dict(zip(columns, row, strict=True)) for row in rows]
        print_json({"study": study.name, "rows": named, "page": str(page)})
        return
    out = console(False)
    shown = study.chosen(setup.budget, chosen)
    lines = measured.short_table(study, setup, shown, by_name=True)
    out.print(table(f"{study.name}: {study.title}", *lines))
    say(out, "page: ", (page, "bold"))


app = typer.Typer(help=help_of(__doc__), no_args_is_help=True)
for _name, _command, _doc in (
    ("list", list_studies, LIST),
    ("run", run_study, RUN),
    ("show", show_studies, SHOW),
):
    app.command(_name, help=help_of(_doc))(errors_as_sentences(_command))
