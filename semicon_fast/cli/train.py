"""`semicon-fast train`: train a network from a preset, a configuration file, or both.

Example: semicon-fast train --preset cub-48 --root CUB_200_2011 -o runs/cub-48

Several processes: torchrun --nproc-per-node 4 -m semicon_fast train ...
"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .common import console, errors_as_sentences, facts_of, help_of, print_json, table

if TYPE_CHECKING:
    from ..training import Config, EncodedRun


def register(app: typer.Typer) -> None:
    app.command("train", help=help_of(__doc__))(train)


def configuration(
    preset: str | None, config: Path | None, settings: list[str], output: Path, resume: bool
) -> "Config":
    """Preset, then file, then single settings; a resumed run brings its own configuration."""
    from ..training import Config, presets

    stored = output / "config.json"
    if resume and not preset and not config and stored.is_file():
        chosen = Config.model_validate_json(stored.read_text("utf-8"))
    elif config:
        if preset:
            raise ValueError("give --preset or --config, not both; single values go in --set")
        if not config.is_file():
            raise ValueError(f"--config {config} does not exist")
        chosen = Config.model_validate_json(config.read_text("utf-8"))
    elif preset:
        chosen = presets.preset(preset)
    else:
        raise ValueError("say what to train: --preset NAME (see `semicon-fast info`) or --config")
    return chosen.override(settings)


@errors_as_sentences
def train(
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder of the run.")],
    preset: Annotated[
        str | None, typer.Option(help="A published row, such as cub-48; `info` lists them.")
    ] = None,
    config: Annotated[Path | None, typer.Option(help="A configuration as JSON.")] = None,
    data: Annotated[str | None, typer.Option(help="Data set, or folder, list, birdlets.")] = None,
    root: Annotated[str | None, typer.Option(help="Where the data set lies.")] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", help="section.key=value, any number of times.", metavar="KEY=VALUE"),
    ] = None,
    select: Annotated[
        str | None,
        typer.Option(help="Keep the best model on: holdout, test (as the papers), or the last."),
    ] = None,
    tensorboard: Annotated[
        bool, typer.Option("--tensorboard", help="Curves for TensorBoard beside the log.")
    ] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with a stopped run.")] = False,
    show_config: Annotated[
        bool, typer.Option("--show-config", help="Print the configuration and stop.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    from .. import distributed
    from ..training import Trainer, encoded_run, reporter

    changes = list(settings or [])
    named = {"data.name": data, "data.root": root, "selection.mode": select}
    changes += [f"{key}={value}" for key, value in named.items() if value is not None]
    if tensorboard:
        changes.append("run.tensorboard=true")
    chosen = configuration(preset, config, changes, output, resume)
    if show_config:
        typer.echo(chosen.model_dump_json(indent=1))
        return
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
        out.print(f"\nall of it on one page: [bold]{page}[/bold]", highlight=False)


def write_page(run: "EncodedRun", result: dict[str, Any], path: Path) -> None:
    """The run's page. result: what `result.json` holds."""
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
    rows = []
    for way, figures in result["evaluation"].items():
        rows += [
            (way, name, value) for name, value in figures.items() if isinstance(value, (int, float))
        ]
    return table(f"{title}: {result['protocol']}", ("database codes", "figure", "value"), rows)
