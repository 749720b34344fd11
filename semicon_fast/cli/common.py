"""What commands share: errors as one sentence, tables, JSON output, the file of a model.

Nothing here imports torch until it is needed.
"""

import functools
import io
import json
import os
import re
import sys
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn, ParamSpec, TypeVar

import typer
from rich.console import Console, Group, JustifyMethod
from rich.table import Table
from rich.text import Text
from typer.core import TyperGroup

from .. import torchrun
from ..data.passed_over import in_words, passed_over_in_words
from ..text import printable

P = ParamSpec("P")
R = TypeVar("R")

# Characters of a cell of a table: a path is shown whole, a longer text without its middle.
LONGEST_CELL = 4096

BAD_INPUT = 2
INTERRUPTED = 130
READER_GONE = 141
OTHER_FAILED = 1
# Columns of the narrowest table that can be read.
NARROWEST = 40


class Commands(TyperGroup):
    """The group of all commands, which print to any console.

    It refuses empty arguments, as of a shell's variable that is not set: every command would take
    one for the current folder, or for the lack of an option.
    """

    def main(self, *args: Any, **kwargs: Any) -> Any:
        for stream in (sys.stdout, sys.stderr):
            # A console that is not UTF-8 gets backslash escapes for what it cannot show.
            if isinstance(stream, io.TextIOWrapper) and stream.errors == "strict":
                stream.reconfigure(errors="backslashreplace")
        with warnings.catch_warnings():
            warnings.showwarning = _show_warning
            return super().main(*args, **kwargs)

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        options = args[: args.index("--")] if "--" in args else args
        for before, given in zip(["", *args], args, strict=False):
            if not given:
                name = before if before.startswith("-") and before != "--" else "an argument"
                raise typer.BadParameter(f"{name} is empty", ctx=ctx)
        for given in options:
            if re.fullmatch(r"--[a-z-]+=", given):
                raise typer.BadParameter(f"{given[:-1]} is empty", ctx=ctx)
        return super().parse_args(ctx, args)


def _show_warning(message: Warning | str, category: type[Warning], *_: Any, **__: Any) -> None:
    """Prints a warning as a sentence, without the line of code that it comes from."""
    say(_stderr(), ("warning:", "yellow"), f" {message}")


def errors_as_sentences(command: Callable[P, R]) -> Callable[P, R]:
    """`command` with its expected errors printed as one sentence on stderr, and an exit code."""

    @functools.wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            _check_current_folder()
            return command(*args, **kwargs)
        except (typer.Exit, BrokenPipeError):
            raise
        except KeyboardInterrupt:
            say(_stderr(), ("stopped", "yellow"))
            raise typer.Exit(INTERRUPTED) from None
        except RuntimeError as error:
            code = _report_stop(error)
            if code is None:
                raise
            raise typer.Exit(code) from None
        except (ValueError, TypeError, OSError) as error:
            _say("error:", "red", error)
            raise typer.Exit(BAD_INPUT) from None

    return run


def run_app(app: typer.Typer) -> NoReturn:
    """Runs the command line and exits, also where what it prints cannot be written.

    A reader of stdout that has gone away, such as `head`, ends the command without a word, and with
    the exit code that a shell gives for it; any other failure is one sentence.
    """
    code: Any = 0
    try:
        app()
    except SystemExit as stop:
        # Both rich and typer exit with 1 while they handle a BrokenPipeError.
        code = READER_GONE if isinstance(stop.__context__, BrokenPipeError) else stop.code
    except OSError as error:
        _say("error:", "red", error)
        code = BAD_INPUT
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except OSError:
        # What is left in the buffer cannot be written, and Python would try again at its exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(code)


def sentence_of(error: BaseException) -> str:
    """The message of an error; of the system's own, the file and the cause without a number."""
    if not isinstance(error, OSError) or not error.strerror:
        return re.sub(r"\[Errno -?\d+\] ", "", str(error))
    names = [str(name) for name in (error.filename, error.filename2) if name is not None]
    cause = error.strerror[:1].lower() + error.strerror[1:]
    return f"{' and '.join(names)}: {cause}" if names else error.strerror


def _check_current_folder() -> None:
    """The current folder must exist: torch cannot be imported where it does not."""
    try:
        os.getcwd()
    except FileNotFoundError:
        raise ValueError("the current folder no longer exists; change to one that does") from None


def _report_stop(error: RuntimeError) -> int | None:
    """Prints why a command was stopped; its exit code, None where `error` is of another kind."""
    # These import torch, which has been imported where such an error is raised.
    from .. import distributed
    from ..native import NativeBuildError
    from ..training import Interrupted

    if isinstance(error, NativeBuildError):
        _say("error:", "red", error)
        return BAD_INPUT
    try:
        with distributed.watched():
            raise error
    except Interrupted as stop:
        if distributed.is_main():
            _say("stopped:", "yellow", stop)
        return INTERRUPTED
    except distributed.OtherProcessFailed as failure:
        # A process that failed reports its own error; one that died cannot.
        if distributed.is_main() or isinstance(failure, distributed.ProcessLost):
            _say("stopped:", "red", failure)
        return OTHER_FAILED
    except RuntimeError:
        return None


def _say(title: str, style: str, error: BaseException) -> None:
    """Prints one sentence on stderr, after the number of the process if that is not 0."""
    process = f"process {number} " if (number := torchrun.rank()) else ""
    say(_stderr(), process, (title, style), f" {sentence_of(error)}")


def say(out: Console, *parts: object) -> None:
    """Prints one line, which a console may wrap but does not cut or interpret.

    parts: what the line is made of, each any value, whose text is taken literally, or a pair
    (value, style).
    """
    line = Text()
    for part in parts:
        value, style = part if isinstance(part, tuple) else (part, "")
        line.append(printable(value), style)
    out.print(line, soft_wrap=True)


def help_of(doc: str | None) -> str:
    """Help of a command: its module's docstring without the command's name in front."""
    text = (doc or "").partition(": ")[2]
    # Click keeps the lines of a paragraph that begins with a backspace character.
    text = text.replace("\n\nExample", "\n\n\b\nExample")
    return text[:1].upper() + text[1:]


def _stderr() -> Console:
    return console(True)


def console(as_json: bool) -> Console:
    """Console for messages: stdout, or stderr where stdout carries JSON."""
    result = Console(stderr=as_json)
    # Where COLUMNS is 0 or almost, tables would lose their content.
    result.width = max(result.width, NARROWEST)
    return result


def print_json(value: dict[str, Any]) -> None:
    """Prints `value` on stdout."""
    typer.echo(json.dumps(value, indent=1))


def table(title: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> Group:
    """A table with numbers aligned to the right and floats with four decimals.

    All text is taken literally; very long cells are shortened.
    """
    # Not the title of a `Table`, which is as narrow as its columns.
    heading = Text(printable(title, LONGEST_CELL), "bold")
    result = Table(show_edge=False)
    listed = [list(row) for row in rows]
    for number, name in enumerate(columns):
        numeric = all(isinstance(row[number], (int, float)) for row in listed)
        side: JustifyMethod = "right" if numeric and listed else "left"
        # Long paths are wrapped, not truncated, so that they can be copied.
        result.add_column(_cell(name), justify=side, overflow="fold")
    for row in listed:
        result.add_row(*map(_cell, row))
    return Group(heading, result)


def _cell(value: Any) -> Text:
    return Text(f"{value:.4f}" if isinstance(value, float) else printable(value, LONGEST_CELL))


def facts_of(result: dict[str, Any]) -> dict[str, Any]:
    """What a report page lists below its figures: command, versions, training time, selection."""
    versions = ", ".join(f"{name} {value}" for name, value in result["versions"].items())
    facts = {"command": result["command"], "versions": versions}
    if "seconds" in result:
        facts["training"] = f"{result['seconds'] / 60:.1f} minutes"
        words = (f"{name}: {value}" for name, value in result["selection"].items())
        facts["selection"] = "; ".join(words)
    return facts


def say_passed_over(
    out: Console, counts: Mapping[str, int], notes: Mapping[str, int] | None = None
) -> None:
    """Prints what was passed over as the last line, and before it what else is to be noted."""
    noted, passed = in_words(notes or {}), passed_over_in_words(counts)
    for line in (f"note: {noted}" if noted else "", passed):
        if line:
            say(out, line)


def model_file(given: Path) -> Path:
    """A run's folder or a model file. Raises ValueError where neither is there."""
    folder = given
    if given.is_dir():
        given = given / "model.safetensors"
    if not given.is_file():
        from ..training.resume import refuse_unfinished

        refuse_unfinished(folder)
        raise ValueError(
            f"no model at {given}: give the folder that `semicon-fast train` wrote, or its "
            "model.safetensors"
        )
    return given


def choose_device(name: str) -> str:
    """The device for --device. Raises ValueError for a CUDA device that torch does not see."""
    import torch

    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if name.startswith("cuda") and not torch.cuda.is_available():
        raise ValueError(f"device {name} was asked for, but torch sees no CUDA device here")
    return str(torch.device(name))
