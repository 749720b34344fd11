"""Every command with every kind of wrong argument: one sentence, exit code 2, nothing written.

The commands are read from the registry and their parameters by type, so that a new one is tried by
itself. What a path or a text of it means is in `ROLES`, for no type says that.
"""

import inspect
import os
import re
import shutil
import typing
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from typer.models import ArgumentInfo, OptionInfo
from typer.testing import CliRunner

from semicon_fast import models
from semicon_fast.cli import app
from semicon_fast.data.transforms import Transform
from semicon_fast.search.gallery import write_gallery
from semicon_fast.training import presets

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
    "allow_host": "any text",
    ("evaluate", "queries"): "gallery", ("evaluate", "database"): "gallery",
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
    "any text": [],
}  # fmt: skip
# Arguments with which a command gets as far as its checks.
COMPLETE = {
    "demo": ["-o", "new"],
    "train": ["--preset", "birdlets-48", "-o", "new"],
    "encode": ["run", "photo.png", "-o", "new"],
    "index": ["gallery"],
    "search": ["gallery", "photo.png"],
    "explain": ["run", "photo.png", "photo.png"],
    "serve": ["gallery"],
    "evaluate": ["--run", "run"],
    "visualize": ["run", "-o", "new"],
    "info": [],
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
        return [command.name, *kept, f"{first}={value}" if first[1] == "-" else first + value]
    positional = [n for n, _, a, _ in parameters(command) if isinstance(a, ArgumentInfo)]
    arguments = list(complete)
    arguments[positional.index(name)] = value
    options = [a for a in arguments if a.startswith("-o")]
    cut = arguments.index(options[0]) if options else len(arguments)
    return [command.name, *arguments[cut:], "--", *arguments[:cut]]


def calls(command):
    """(command line, what the sentence has one of) for everything that must be refused."""
    complete = COMPLETE.get(command.name, [])
    yield [command.name, *complete, "--no-such-option"], ["--no-such-option"]
    if command.name not in ("encode", "search", "visualize"):  # which take any number
        yield [command.name, *complete, "one", "more", "more", "more"], ["more", "one"]
    for name, kind, about, required in parameters(command):
        assert isinstance(about, (ArgumentInfo, OptionInfo)), (command.name, name)
        if required:
            yield [command.name], ["Missing"]
        for value in wrong_values(command.name, name, kind, about):
            named = [*spellings(name, about), name.upper(), *SPOKEN.get(name, ())]
            shown = value.rpartition("/")[2] if value.startswith(("loop/", LONG)) else value
            shown = shown.encode("utf-8", "backslashreplace").decode()[:40]
            yield placed(command, name, about, value), [*named, shown or "empty"]


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    """Things that are there, and none of them what a command wants but `run` and `gallery`."""
    here = tmp_path_factory.mktemp("places")
    Image.new("RGB", (16, 16)).save(here / "photo.png")
    (here / "empty").mkdir()
    (here / "folder.png").mkdir()
    (here / "garbage.bin").write_bytes(bytes(range(128, 256)) * 9)
    (here / "list.json").write_text("[1, 2]")
    (here / "loop").symlink_to("loop")
    (here / "loops" / "in").mkdir(parents=True)
    (here / "loops" / "in" / "again").symlink_to("..")
    for run, preset, root in (("run", "birdlets-48", None), ("moved", "folder-12", "gone")):
        (here / run).mkdir()
        config = presets.preset(preset).override([f"data.root={root}"])
        (here / run / "config.json").write_text(config.model_dump_json())
        network = models.build({"network": "small", "code_length": 8, "width": 4}, seed=0)
        network.preprocess = Transform("plain", 16, False).config()
        models.save(network, here / run / "model.safetensors")
    piece = np.arange(4, dtype=np.uint8)[:, None], ["photo.png"] * 4, ["a", "a", "b", "b"]
    about = {"model": str(here / "run" / "model.safetensors")}
    write_gallery(here / "gallery", [piece], 8, 4, about, index=True)
    for folder, content in (("garbage", bytes(range(128, 256))), ("list", b"[1, 2]")):
        (here / folder).mkdir()
        for name in ("gallery.json", "config.json"):
            (here / folder / name).write_bytes(content)
    return here


def stand(folder):
    """Every path below the folder with its size and its time."""
    paths = sorted(folder.rglob("*"))
    return [(p, p.lstat().st_size, p.lstat().st_mtime_ns) for p in paths]


def refused(call, places):
    """What is said of a call, which must be refused without a trace, on one line."""
    before = stand(places)
    result = CliRunner().invoke(app, call)
    said = result.stderr
    shown = f"{[str(a)[:80] for a in call]}: {result.exit_code}, {said[-1500:]!r}"
    stopped = result.exception is None or isinstance(result.exception, SystemExit)
    assert stopped, f"{shown}: {result.exception!r}"
    assert result.exit_code == 2, f"{shown}, {result.stdout[-300:]!r}"
    assert "Traceback" not in said and said.strip(), shown
    if not said.lstrip().startswith(("Usage:", "╭─ Error")):
        assert said.startswith("error: ") and said.count("\n") == 1, shown
        assert "[Errno" not in said, shown
    assert stand(places) == before, f"{shown}: something was written"
    return " ".join(re.sub("[│╭╰╮╯─]", " ", said).split())


def failures(tried, places):
    """What went wrong with each of these calls, (command line, what the sentence has one of)."""
    for call, named in tried:
        try:
            said = refused(call, places)
            if named and not any(" ".join(word.split()) in said for word in named):
                yield f"{[str(a)[:80] for a in call]}: {said[:300]!r} names none of {named}"
        except AssertionError as error:
            yield str(error).split("\nassert")[0]


@pytest.mark.parametrize("command", app.registered_commands, ids=lambda command: command.name)
def test_a_command_refuses_every_wrong_argument(command, places, monkeypatch):
    monkeypatch.chdir(places)
    failed = list(failures(calls(command), places))
    assert not failed, f"{len(failed)}:\n" + "\n".join(failed)


def test_what_is_no_command_is_refused(places, monkeypatch):
    monkeypatch.chdir(places)
    lines = (["nosuch"], ["evaluat"], ["--nosuch"], [""], [NOT_UTF_8])
    assert not list(failures([(line, ["No such", "is empty"]) for line in lines], places))


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
def test_arguments_that_do_not_go_together_are_refused(call, sentence, places, monkeypatch):
    monkeypatch.chdir(places)
    assert sentence in refused(call, places)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
@pytest.mark.parametrize(
    "call",
    [
        ["encode", "run", "photo.png", "-o", "new"],
        ["search", "gallery", "photo.png"],
        ["serve", "gallery"],
    ],
)
def test_a_device_that_is_not_there_is_refused(call, places, monkeypatch):
    monkeypatch.chdir(places)
    assert "no CUDA device" in refused([*call, "--device", "cuda:1"], places)


DAMAGED = {
    "codes.npy": [["index", "gallery"], ["search", "gallery", "photo.png"], ["serve", "gallery"]],
    "images.csv": [["search", "gallery", "photo.png"], ["explain", "gallery", "0", "1"]],
    "gallery.json": [["index", "gallery"], ["evaluate", "--queries", "gallery", "--database",
                     "gallery"], ["explain", "gallery", "0", "1"]],
    "index.hamming": [["search", "gallery", "photo.png"], ["serve", "gallery", "--no-model"]],
}  # fmt: skip
CONTENTS = [b"", bytes(range(128, 256)) * 9, b"[1, 2]", b'{"format": "x"}', b"{}", b"\x93NUMPY"]


@pytest.mark.parametrize("content", CONTENTS, ids=lambda content: repr(content[:8]))
@pytest.mark.parametrize("name", DAMAGED)
def test_a_damaged_file_of_a_gallery_is_named(name, content, places, tmp_path, monkeypatch):
    shutil.copytree(places, tmp_path / "copy", symlinks=True)
    monkeypatch.chdir(tmp_path / "copy")
    Path("gallery", name).write_bytes(content)
    for call in DAMAGED[name]:
        assert "gallery" in refused(call, tmp_path / "copy")


@pytest.mark.parametrize("content", CONTENTS, ids=lambda content: repr(content[:8]))
@pytest.mark.parametrize(
    "call",
    [
        ["evaluate", "--run", "run"],
        ["visualize", "run", "-o", "new"],
        ["train", "-o", "run", "--resume"],
    ],
    ids=" ".join,
)
def test_a_damaged_configuration_is_named(call, content, places, tmp_path, monkeypatch):
    shutil.copytree(places, tmp_path / "copy", symlinks=True)
    monkeypatch.chdir(tmp_path / "copy")
    Path("run", "config.json").write_bytes(content)
    assert "run/config.json" in refused(call, tmp_path / "copy")


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read all")
def test_what_may_not_be_read_is_refused(places, tmp_path, monkeypatch):
    shutil.copytree(places, tmp_path / "copy", symlinks=True)
    monkeypatch.chdir(tmp_path / "copy")
    for name in ("run/model.safetensors", "run/config.json", "gallery/gallery.json", "photo.png"):
        Path(name).chmod(0)
    for call in (["encode", "run", "photo.png", "-o", "new"], ["index", "gallery"],
                 ["evaluate", "--run", "run"]):  # fmt: skip
        refused(call, tmp_path / "copy")


HUGE = ["9223372036854775807", "9223372036854775808", "1" + "0" * 30]


@pytest.mark.parametrize("value", HUGE)
@pytest.mark.parametrize(
    "call",
    [
        ["search", "gallery", "photo.png", "--device", "cpu", "-k"],
        ["encode", "run", "photo.png", "-o", "new", "--part-size"],
        ["encode", "run", "photo.png", "-o", "new", "--batch-size"],
        [
            "evaluate",
            "--queries",
            "gallery",
            "--database",
            "gallery",
            "--report",
            "new.html",
            "--topk",
        ],
    ],
    ids=lambda c: c[-1],
)
def test_a_huge_number_is_either_taken_or_refused(call, value, places, tmp_path, monkeypatch):
    shutil.copytree(places, tmp_path / "copy", symlinks=True)
    monkeypatch.chdir(tmp_path / "copy")
    result = CliRunner().invoke(app, [*call, value])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    assert result.exit_code in (0, 2) and "Traceback" not in result.stderr
    if result.exit_code == 2:
        assert call[-1] in result.stderr or value in result.stderr
