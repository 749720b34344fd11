"""What every command shares: errors as one sentence, tables, JSON output, where a model lies."""

import functools
import json
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import typer
from rich.console import Console, JustifyMethod
from rich.table import Table

P = ParamSpec("P")
R = TypeVar("R")

BAD_INPUT = 2
INTERRUPTED = 130
OTHER_FAILED = 1


def errors_as_sentences(command: Callable[P, R]) -> Callable[P, R]:
    """A caller's mistake ends with a sentence and exit code 2, not with a traceback."""

    @functools.wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        from .. import distributed
        from ..training import Interrupted

        try:
            with distributed.watched():
                return command(*args, **kwargs)
        except Interrupted as stop:
            if distributed.is_main():
                _say("[yellow]stopped:[/yellow]", str(stop))
            raise typer.Exit(INTERRUPTED) from None
        except KeyboardInterrupt:
            _say("[yellow]stopped[/yellow]", "")
            raise typer.Exit(INTERRUPTED) from None
        except distributed.OtherProcessFailed as failure:
            # The process that failed speaks for itself; one that died cannot.
            if distributed.is_main() or isinstance(failure, distributed.ProcessLost):
                _say("[red]stopped:[/red]", str(failure))
            raise typer.Exit(OTHER_FAILED) from None
        except (ValueError, TypeError, OSError) as error:
            _say("[red]error:[/red]", str(error))
            raise typer.Exit(BAD_INPUT) from None

    return run


def _say(title: str, text: str) -> None:
    """One sentence on stderr; a process that is not the first gives its number."""
    from .. import distributed

    out = _stderr()
    if not distributed.is_main():
        out.print(f"process {distributed.rank()}", end=" ", highlight=False)
    out.print(title, end=" " if text else "\n")
    if text:
        out.print(text, markup=False, highlight=False, soft_wrap=True)


def help_of(doc: str | None) -> str:
    """A module's docstring as its command's help, without the command's own name in front."""
    text = (doc or "").partition(": ")[2]
    return text[:1].upper() + text[1:]


def _stderr() -> Console:
    return Console(stderr=True)


def console(as_json: bool) -> Console:
    """People read stdout; with --json machines do, and words for people go to stderr."""
    return Console(stderr=as_json)


def print_json(value: dict[str, Any]) -> None:
    json.dump(value, sys.stdout, indent=1)
    sys.stdout.write("\n")
    sys.stdout.flush()


def table(title: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> Table:
    """Numbers to the right, four decimals for fractions."""
    result = Table(title=title, title_justify="left", title_style="bold", show_edge=False)
    listed = [list(row) for row in rows]
    for number, name in enumerate(columns):
        numeric = all(isinstance(row[number], (int, float)) for row in listed)
        side: JustifyMethod = "right" if numeric and listed else "left"
        # Paths are folded, never cut: one may want to copy them.
        result.add_column(name, justify=side, overflow="fold")
    for row in listed:
        result.add_row(*(f"{v:.4f}" if isinstance(v, float) else str(v) for v in row))
    return result


def facts_of(result: dict[str, Any]) -> dict[str, Any]:
    """What a page says below its figures: command, versions, time, selection."""
    versions = ", ".join(f"{name} {value}" for name, value in result["versions"].items())
    facts = {"command": result["command"], "versions": versions}
    if "seconds" in result:
        facts["training"] = f"{result['seconds'] / 60:.1f} minutes"
        words = (f"{name}: {value}" for name, value in result["selection"].items())
        facts["selection"] = "; ".join(words)
    return facts


def model_file(given: Path) -> Path:
    """A run's folder or a model file. Raises ValueError where neither is there."""
    folder = given
    if given.is_dir():
        given = given / "model.safetensors"
    if not given.is_file():
        if (folder / "checkpoints").is_dir():
            from ..training.best import unfinished

            if said := unfinished(folder):
                raise ValueError(said)
        raise ValueError(
            f"no model at {given}: give the folder that `semicon-fast train` wrote, or its "
            "model.safetensors"
        )
    return given


def choose_device(name: str) -> str:
    import torch

    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if name.startswith("cuda") and not torch.cuda.is_available():
        raise ValueError(f"device {name} was asked for, but torch sees no CUDA device here")
    return str(torch.device(name))
