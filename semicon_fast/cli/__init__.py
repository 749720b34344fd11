"""`semicon-fast`: train a hashing network, encode images, search and evaluate.

One file a command. A command checks its arguments before it imports torch, so that a wrong path is
reported at once: see `arguments`. Exit codes: 0 done; 1 another process of the run failed; 2 bad
input, with one sentence on stderr; 130 interrupted; 141 the reader of the output went away.
"""

from typing import Annotated, NoReturn

import typer

from . import (
    centers,
    demo,
    duplicates,
    encode,
    ensemble,
    evaluate,
    explain,
    features,
    fit,
    index,
    info,
    recall,
    search,
    serve,
    study,
    train,
    visualize,
)
from .common import Commands, errors_as_sentences, help_of, run_app

app = typer.Typer(
    cls=Commands,
    name="semicon-fast",
    help="Learning to hash for image retrieval, and exact search over binary codes.",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_show_locals=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Start with [bold]semicon-fast demo[/bold]; COMMAND --help shows examples.",
)


def _version(show: bool) -> None:
    if show:
        from .. import __version__

        typer.echo(f"semicon-fast {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_version, is_eager=True, help="Show the version and exit."
        ),
    ] = False,
) -> None:
    pass


# Each module defines the function of its own name, and its docstring is the command's help.
for module in (
    demo,
    train,
    encode,
    index,
    search,
    duplicates,
    explain,
    serve,
    evaluate,
    visualize,
    ensemble,
    centers,
    features,
    fit,
    recall,
    info,
):
    name = module.__name__.rpartition(".")[2]
    command = errors_as_sentences(getattr(module, name))
    app.command(name, help=help_of(module.__doc__))(command)
app.add_typer(study.app, name="study")


def main() -> NoReturn:
    run_app(app)
