"""Every command with every kind of wrong argument: one sentence, exit code 2, nothing written.

The commands are read from the registry and their parameters by type, so that a new one is tried by
itself. What a path or a text of it means is in `ROLES`, for no type says that.
"""

import copy
import inspect
import os
import typing
from pathlib import Path

import pytest
import torch
from typer.models import ArgumentInfo, OptionInfo

from semicon_fast.cli import app
from semicon_fast.text import printable

LONG = "x" * 5000
BELOW_A_FILE = "photo.png/below"
NOT_UTF_8 = os.fsdecode(b"no\xff\xfesuch")
NUMBERS = ["x", "", "nan", "inf", "1e30", "1.5", "--", "0x10", "-1"]
NOWHERE = ["nowhere", "nowhere/deeper", BELOW_A_FILE, LONG, "loop", "loop/in", "-", NOT_UTF_8]
NO_GALLERY = [*NOWHERE, "", "photo.png", "empty", "garbage.bin", "garbage", "list", "run"]
NO_RUN = [*NOWHERE, "", "photo.png", "empty", "garbage.bin", "gallery", "garbage"]
NO_MODEL = [*NOWHERE, "", "empty", "gallery"]
NO_FOLDER_TO_WRITE = [BELOW_A_FILE, LONG, "loop", "photo.png"]
NO_FILE_TO_WRITE = [BELOW_A_FILE + ".png", LONG + ".png", "loop/x.png", "folder.png"]

# What the paths and texts of commands mean, by the name of the parameter.
ROLES = {
    "gallery": "gallery", "queries": "images", "images": "images", "query": "image", "hit": "image",
    "source": "source", "model": "model", "run": "run", "runs": "run", "root": "root",
    "output": "output", "page": "file", "curve": "picture", "picture": "picture",
    "device": "device", "precision": "choice", "on_broken": "choice", "denominator": "choice",
    "kinds": "choice", "formats": "choice", "preset": "choice", "data": "choice",
    "select": "choice", "settings": "settings", "config": "config", "host": "host",
    "allow_host": "any text", "name": "choice", "only": "choice", "budget": "choice",
    ("study run", "root"): "folder", ("study show", "output"): "studies",
    ("evaluate", "queries"): "gallery", ("evaluate", "database"): "gallery",
    ("centers", "file"): "codebook", ("centers", "similarity"): "matrix",
    ("centers", "output"): "codebook file", "kind": "choice",
    "method": "choice", "metric": "choice", "features": "vectors", "hasher": "hasher",
    ("recall", "queries"): "vectors", "labels": "texts", "names": "texts",
    ("features", "output"): "features file", ("fit", "output"): "file",
    ("fit", "settings"): "options", "groups_file": "file",
}  # fmt: skip
WRONG = {
    "gallery": NO_GALLERY,
    "images": [*NOWHERE, "empty", "loops"],
    "image": [*NOWHERE, "", "empty", "9999", "-1", "²"],
    "source": [*NOWHERE, "", "empty", "garbage"],
    "model": NO_MODEL,
    "run": NO_RUN,
    "root": [*NOWHERE, "", "photo.png", "~nosuchuser/x"],
    "output": NO_FOLDER_TO_WRITE,
    "file": NO_FILE_TO_WRITE,
    "picture": [*NO_FILE_TO_WRITE, "", ".png", "x.gif", "x", "nowhere/x.PNG.txt"],
    "device": ["", "gpu", "cuda:", "cuda:-1", "cuda:x", "cpu:99x", "CPU", "cuda:1e3", NOT_UTF_8],
    "choice": ["", "nosuch", "ALL ", ",", NOT_UTF_8, LONG],
    "settings": ["", "=", "nosuch", "nosuch=1", "schedule=1", "schedule.iterations=nan",
                 "optimizer.lr=inf", "optimizer.lr=-1", "schedule.batch_size=0",
                 "schedule.iterations=1e30", "run.seed=9223372036854775808", NOT_UTF_8],
    "config": [*NOWHERE, "", "empty", "photo.png", "garbage.bin", "list.json"],
    "host": ["", "no such host", "256.0.0.1", LONG, NOT_UTF_8],
    "codebook": [*NOWHERE, "", "photo.png", "empty", "garbage.bin"],
    "matrix": [*NOWHERE, "", "photo.png", "empty", "garbage.bin"],
    "codebook file": [BELOW_A_FILE + ".safetensors", "loop/x.safetensors", "x.npy", ""],
    "vectors": [*NOWHERE, "", "photo.png", "empty", "garbage.bin", "x.npy:name", "garbage.npy"],
    "hasher": [*NOWHERE, "", "photo.png", "empty", "garbage.bin", "run"],
    "texts": [*NOWHERE, "", "photo.png", "empty", "garbage.bin", "garbage.npy", "no.txt"],
    "features file": [BELOW_A_FILE + ".npz", LONG + ".npz", "loop/x.npz", "x.npy", "", "x.npz"],
    "options": ["", "=", "=1", "nosuch", "nosuch=1", "iterations=x", "iterations=-1",
                "iterations=1.5", "seed=nan", "normalise=2", "start=1"],
    "folder": [*NOWHERE, "", "photo.png", "~nosuchuser/x", "cub=nowhere"],
    "studies": [*NOWHERE, "", "photo.png", "empty", "garbage.bin", "run"],
    "any text": [],
}  # fmt: skip
# Arguments with which a command gets as far as its checks.
COMPLETE = {
    "demo": ["-o", "new"],
    "train": ["--preset", "birdlets-48", "-o", "new"],
    "encode": ["run", "photo.png", "-o", "new"],
    "index": ["gallery"],
    "search": ["gallery", "photo.png"],
    "duplicates": ["gallery"],
    "explain": ["run", "photo.png", "photo.png"],
    "serve": ["gallery"],
    "evaluate": ["--run", "run"],
    "visualize": ["run", "-o", "new"],
    "info": [],
    "centers": ["--classes", "10", "--bits", "8"],
    "study list": [],
    "study run": ["readme-photographs", "-o", "new", "--root", "loops"],
    "study show": ["empty"],
    "ensemble": ["run", "run", "-o", "new"],
    "features": ["run", "photo.png", "-o", "new.npz"],
    "fit": ["itq", "x.npy", "-o", "new", "--bits", "4"],
    "recall": ["hasher", "x.npy"],
}
# What a sentence calls a parameter, besides its option and its value.
SPOKEN = {
    "output": ["output"], "root": ["root"], "host": ["host"],
    "settings": ["unknown setting", "is a section"],
}  # fmt: skip
# Parameters that only count with other arguments than those.
INSTEAD = {
    ("evaluate", "queries"): ["--database", "gallery"],
    ("evaluate", "database"): ["--queries", "gallery"],
    ("train", "root"): ["--preset", "cub-48", "-o", "new"],
    ("train", "config"): ["-o", "new"],
    ("evaluate", "root"): ["--run", "moved"],
    ("visualize", "root"): ["moved", "-o", "new"],
    ("serve", "host"): ["gallery", "--no-model"],
    ("centers", "file"): ["codebook"],
    ("encode", "labels"): ["hasher", "x.npy", "-o", "new"],
    ("encode", "names"): ["hasher", "x.npy", "-o", "new"],
    ("centers", "similarity"): ["--classes", "10", "--bits", "8", "--kind", "semantic"],
}


def parameters(command):
    """(name, type, typer's description, whether it is required) of each parameter of a command."""
    function = inspect.unwrap(command.callback)
    hints = typing.get_type_hints(function, include_extras=True)
    for name, parameter in inspect.signature(function).parameters.items():
        kind, about = typing.get_args(hints[name])[:2]
        kinds = [t for t in typing.get_args(kind) if t is not type(None)] or [kind]
        kind = kinds[0] if len(kinds) == 1 else kind
        kind = typing.get_args(kind)[0] if typing.get_origin(kind) is list else kind
        yield name, kind, about, parameter.default is inspect.Parameter.empty


def wrong_values(command, name, kind, about):
    """Values that the parameter must refuse. Fails where nobody has said what it means."""
    if kind is bool:
        return []
    if kind in (int, float):
        limits = [(about.min, -1), (about.max, 1)]
        beyond = [str(limit + step) for limit, step in limits if limit is not None]
        return [*NUMBERS, *beyond] if about.min is not None and about.min >= 0 else NUMBERS[:-1]
    role = ROLES.get((command, name), ROLES.get(name))
    if role is None or role not in WRONG:
        pytest.fail(
            f"{command} has a parameter {name!r} of type {kind.__name__}: say in ROLES of "
            f"{Path(__file__).name} what it means, and in WRONG what is wrong for that"
        )
    return WRONG[role]


def spellings(name, about):
    """The ways to write an option; none for an argument."""
    if isinstance(about, ArgumentInfo):
        return []
    # typer takes the first positional argument of Option for a default until the app is run.
    given = [about.default, *(about.param_decls or ())]
    named = [text for text in given if isinstance(text, str) and text.startswith("-")]
    return named or [f"--{name.replace('_', '-')}"]


def placed(command, name, about, value):
    """The command line with `value` as the parameter: in its place, or after what is complete."""
    complete = INSTEAD.get((command.name, name), COMPLETE[command.name])
    if written := spellings(name, about):
        kept = list(complete)
        for spelt in set(written) & set(kept):
            del kept[kept.index(spelt) : kept.index(spelt) + 2]
        first = written[0]
        return [
            *command.name.split(),
            *kept,
            f"{first}={value}" if first[1] == "-" else first + value,
        ]
    positional = [n for n, _, a, _ in parameters(command) if isinstance(a, ArgumentInfo)]
    arguments = list(complete)
    arguments[positional.index(name)] = value
    options = [a for a in arguments if a.startswith("-o")]
    cut = arguments.index(options[0]) if options else len(arguments)
    return [*command.name.split(), *arguments[cut:], "--", *arguments[:cut]]


def calls(command):
    """(command line, what the sentence has one of) for everything that must be refused."""
    complete = COMPLETE.get(command.name, [])
    words = command.name.split()
    yield [*words, *complete, "--no-such-option"], ["--no-such-option"]
    several = "encode", "features", "search", "visualize", "ensemble"
    if command.name not in several:
        yield [*words, *complete, "one", "more", "more", "more"], ["more", "one"]
    for name, kind, about, required in parameters(command):
        assert isinstance(about, (ArgumentInfo, OptionInfo)), (command.name, name)
        if required:
            yield words, ["Missing"]
        for value in wrong_values(command.name, name, kind, about):
            named = [*spellings(name, about), name.upper(), *SPOKEN.get(name, ())]
            shown = value.rpartition("/")[2] if value.startswith(("loop/", LONG)) else value
            # As `printable` or Python's repr() shows it.
            shown = [form[:40] for form in (printable(shown), repr(shown)[1:-1])]
            named += shown if value else ["empty"]
            yield placed(command, name, about, value), named


def failures(tried, junk, refused):
    """What went wrong with each of these calls, (command line, what the sentence has one of)."""
    for call, named in tried:
        try:
            said = refused(call, junk)
            if named and not any(" ".join(word.split()) in said for word in named):
                yield f"{[str(a)[:80] for a in call]}: {said[:300]!r} names none of {named}"
        except AssertionError as error:
            yield str(error).split("\nassert")[0]


def commands():
    """All commands; those of a group have its name before their own."""
    yield from app.registered_commands
    for group in app.registered_groups:
        for command in group.typer_instance.registered_commands:
            own = copy.copy(command)
            own.name = f"{group.name} {command.name}"
            yield own


@pytest.mark.parametrize("command", list(commands()), ids=lambda command: command.name)
def test_a_command_refuses_every_wrong_argument(command, junk, refused, monkeypatch):
    monkeypatch.chdir(junk)
    failed = list(failures(calls(command), junk, refused))
    assert not failed, f"{len(failed)}:\n" + "\n".join(failed)


def test_what_is_no_command_is_refused(junk, refused, monkeypatch):
    monkeypatch.chdir(junk)
    lines = (["nosuch"], ["evaluat"], ["--nosuch"], [""], [NOT_UTF_8])
    assert not list(failures([(line, ["No such", "is empty"]) for line in lines], junk, refused))


def test_a_parameter_of_unknown_meaning_is_asked_about():
    with pytest.raises(pytest.fail.Exception, match="say in ROLES of .* what it means"):
        wrong_values("index", "colour", str, OptionInfo(default=None))


TOGETHER = [
    (["train", "--preset", "cub-48", "--config", "list.json", "-o", "new"], "not both"),
    (["evaluate", "--run", "run", "--queries", "gallery"], "not both"),
    (["evaluate", "--queries", "gallery"], "say what to evaluate"),
    (["train", "-o", "run", "--preset", "birdlets-48"], "holds a run already"),
    (["encode", "run", "photo.png", "-o", "gallery"], "exists already"),
    (["encode", "photo.png", "photo.png", "-o", "new", "--from-checkpoint"], "needs the folder"),
    (["encode", "run", "loops", "-o", "new"], "no image below loops"),
    (["encode", "garbage.bin", "photo.png", "-o", "new"], "garbage.bin is not a safetensors file"),
    (["search", "gallery", "photo.png", "--model", "garbage.bin"], "garbage.bin is not a safe"),
    (["search", "gallery", "garbage.bin"], "garbage.bin"),
    (["explain", "gallery", "garbage.bin", "2"], "garbage.bin"),
    (["serve", "gallery", "--host", "192.0.2.1"], "cannot listen at 192.0.2.1"),
]


@pytest.mark.parametrize("call, sentence", TOGETHER, ids=lambda v: " ".join(v).replace("/", "-"))
def test_arguments_that_do_not_go_together_are_refused(call, sentence, junk, refused, monkeypatch):
    monkeypatch.chdir(junk)
    assert sentence in refused(call, junk)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
@pytest.mark.parametrize(
    "call",
    [
        ["encode", "run", "photo.png", "-o", "new"],
        ["search", "gallery", "photo.png"],
        ["serve", "gallery"],
    ],
)
def test_a_device_that_is_not_there_is_refused(call, junk, refused, monkeypatch):
    monkeypatch.chdir(junk)
    assert "no CUDA device" in refused([*call, "--device", "cuda:1"], junk)
