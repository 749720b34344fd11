"""`semicon-fast train`: train a hashing network from a preset or a configuration file.

Examples:
  semicon-fast train --preset cub-48 --root CUB_200_2011 -o runs/cub-48
  semicon-fast train -o runs/cub-48 --resume
  torchrun --nproc-per-node 4 -m semicon_fast train --preset cub-48 --root CUB_200_2011 -o run
"""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .. import torchrun
from ..data import registry
from .common import console, facts_of, print_json, say, say_passed_over, table
from .options import AsJson, Output, Resume

if TYPE_CHECKING:
    from ..training import Config, EncodedRun


def configuration(
    preset: str | None, config: Path | None, settings: list[str], output: Path, resume: bool
) -> "Config":
    """Configuration of a preset, a file, or the run to be resumed, with `settings` applied."""
    from ..training import Config, presets

    stored = output / "config.json"
    if resume and not preset and not config and stored.is_file():
        chosen = Config.read(stored)
    elif config:
        if preset:
            raise ValueError("give --preset or --config, not both; single values go in --set")
        if not config.is_file():
            raise ValueError(f"--config {config} does not exist")
        chosen = Config.read(config)
    elif preset:
        chosen = presets.preset(preset)
    else:
        raise ValueError("say what to train: --preset NAME (see `semicon-fast info`) or --config")
    return chosen.override(settings)


def train(
    output: Output,
    preset: Annotated[
        str | None,
        typer.Option(help="Preset to train, such as cub-48; `semicon-fast info` lists all."),
    ] = None,
    config: Annotated[Path | None, typer.Option(help="Configuration file (JSON).")] = None,
    data: Annotated[
        str | None, typer.Option(help=f"Data set: {', '.join(registry.DATASETS)}.")
    ] = None,
    root: Annotated[str | None, typer.Option(help="Folder of the data set.")] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            help="Change a setting, as in schedule.iterations=20; may be given several times.",
            metavar="KEY=VALUE",
        ),
    ] = None,
    select: Annotated[
        str | None,
        typer.Option(
            help="Model to keep: holdout or test (the best on a held-out part of the training set, "
            "or on the test set as in the papers), or last."
        ),
    ] = None,
    tensorboard: Annotated[
        bool, typer.Option("--tensorboard", help="Also write the log for TensorBoard.")
    ] = False,
    resume: Resume = False,
    show_config: Annotated[
        bool, typer.Option("--show-config", help="Print the configuration and exit.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    changes = list(settings or [])
    named = {"data.name": data, "data.root": root, "selection.mode": select}
    # As JSON, so that a folder may have any name: with spaces at its ends, "none", "[1]".
    changes += [f"{key}={json.dumps(value)}" for key, value in named.items() if value is not None]
    if tensorboard:
        changes.append("run.tensorboard=true")
    chosen = configuration(preset, config, changes, output, resume)
    if show_config:
        typer.echo(chosen.model_dump_json(indent=1))
        return
    # Processes of torchrun check this together, and one of them reports an error for all.
    if not resume and not torchrun.launched():
        _check_paths(chosen, output)
    from .. import distributed
    from ..training import Trainer, encoded_run, reporter

    out = console(as_json)
    trainer = Trainer(chosen, output=output, resume=resume, reporter=reporter.RichReporter(out))
    result = trainer.fit().to_dict()
    page = output / "report.html"
    encoded = trainer.encoded
    if encoded is None and not distributed.on_main(page.is_file):
        encoded = encoded_run(output)
    if not distributed.is_main():
        return
    if encoded is not None:
        write_page(encoded, result, page)
    if as_json:
        print_json(result)
    else:
        out.print(result_table(result, str(output)))
        out.print()
        say(out, "report page: ", (page, "bold"))
        say_passed_over(out, result["passed_over"])


def _check_paths(config: "Config", output: Path) -> None:
    """The output folder must be new; the data set and the model to start from must exist."""
    from ..training import resume

    resume.refuse_used(output)
    registry.check_root(config.data.name, config.data.root)
    start = config.model.start
    if start is not None and not Path(start).is_file():
        raise ValueError(f"{start} is not a file")


def write_page(run: "EncodedRun", result: dict[str, Any], path: Path) -> None:
    """Writes the report page of a run. result: the content of result.json."""
    from .. import report
    from ..training import evaluate_encoded

    page = report.run_page(
        run,
        evaluate_encoded(run)["evaluation"],
        report.of_run(run),
        title=f"{path.parent.name}: {run.data.name}, {run.bits} bits",
        facts=facts_of(result),
    )
    report.write(page, path)


def result_table(result: dict[str, Any], title: str) -> Any:
    """The figures of a run as a table. result: the content of result.json."""
    rows = []
    for way, figures in result["evaluation"].items():
        rows += [
            (way, name, value) for name, value in figures.items() if isinstance(value, (int, float))
        ]
    return table(f"{title}: {result['protocol']}", ("database codes", "figure", "value"), rows)
