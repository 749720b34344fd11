"""Every command with names and labels that hold anything, on a UTF-8 and on an ASCII console."""

import csv
import json
import os
import re
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
from asgi import ask
from nasty_names import NAMES, file_name
from PIL import Image
from rich.console import Console
from typer.testing import CliRunner

from semicon_fast import models
from semicon_fast.cli import app
from semicon_fast.cli.common import say, table
from semicon_fast.data.transforms import Transform
from semicon_fast.search.gallery import Gallery
from semicon_fast.text import printable

LATIN1 = os.fsdecode(b"K\xf6nig")
CLASSES = [file_name(name) for name in NAMES]
CONTROLS = re.compile("[\x00-\x09\x0b-\x1f\x7f\ufffd]")


def run(*arguments, charset="utf-8", code=0):
    """The result of a command; nothing that it prints is read as control characters or markup."""
    wide = {"COLUMNS": "20000"}  # nothing is wrapped
    result = CliRunner(charset=charset, env=wide).invoke(app, [str(a) for a in arguments])
    said = (result.stdout_bytes + result.stderr_bytes).decode(charset)
    assert result.exit_code == code, said
    assert "Traceback" not in said and not CONTROLS.search(said)
    return result


def answer(*arguments):
    return json.loads(run(*arguments, "--json").stdout)


def shown(value, charset, longest=None):
    """What a console of this encoding shows of any value."""
    return printable(value, longest).encode(charset, "backslashreplace").decode(charset)


@pytest.fixture(scope="module")
def here(tmp_path_factory):
    """model.safetensors of an untrained network, and photos of every class, below a nasty name."""
    here = tmp_path_factory.mktemp("text") / f"[old] $x$ :dog: {LATIN1}"
    here.mkdir()
    torch.manual_seed(0)
    network = models.build({"network": "small", "code_length": 16, "width": 8})
    network.preprocess = Transform("plain", 16, False).config()
    models.save(network, here / "model.safetensors")
    rng = np.random.default_rng(0)
    for part, count in (("train", 2), ("test", 1)):
        for name in CLASSES:
            folder = here / "photos" / part / name
            folder.mkdir(parents=True)
            for i in range(count):
                pixels = rng.integers(0, 255, (16, 16, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / f"{i} {name}.png")
    return here


@pytest.fixture(scope="module")
def gallery(here):
    folder = here / "gallery [/b] 100%"
    run("encode", here / "model.safetensors", here / "photos" / "train", "-o", folder)
    return folder


def test_a_gallery_holds_the_exact_names(here, gallery):
    found = Gallery.open(gallery)
    assert sorted(found.labels) == sorted([*CLASSES] * 2)
    assert all(Path(image).is_file() for image in found.images)


@pytest.mark.parametrize("charset", ["utf-8", "ascii"])
def test_index_and_search_print_names_as_they_are(here, gallery, charset):
    said = run("index", gallery, charset=charset).stdout
    assert f"{shown(gallery, charset)}/index.hamming: 32 codes" in said
    queries = sorted((here / "photos" / "test").rglob("*.png"))
    said = run("search", gallery, *queries, "-k", 32, charset=charset).stdout
    assert all(shown(query, charset) in said for query in queries)
    assert all(shown(name, charset, 80) in said for name in CLASSES)


def test_json_gives_the_exact_names(here, gallery):
    queries = sorted((here / "photos" / "test").rglob("*.png"))
    said = answer("search", gallery, *queries, "-k", 32)
    assert said["gallery"] == str(gallery)
    assert [entry["query"] for entry in said["queries"]] == list(map(str, queries))
    assert {hit["label"] for hit in said["queries"][0]["hits"]} == set(CLASSES)
    said = answer("explain", gallery, queries[0], queries[1])
    assert (said["query"], said["hit"]) == (str(queries[0]), str(queries[1]))


@pytest.mark.parametrize("charset", ["utf-8", "ascii"])
def test_pictures_and_pages_of_galleries(here, gallery, charset, tmp_path):
    queries = sorted((here / "photos" / "test").rglob("*.png"))
    hits = tmp_path / f"hits $x$ {LATIN1}.png"
    run("search", gallery, *queries[:3], "-k", 1, "--picture", hits, charset=charset)
    said = run(
        "explain", gallery, queries[3], 0, "--picture", tmp_path / "why.svg", charset=charset
    )
    assert shown(queries[3], charset) in said.stdout
    asked = tmp_path / f"asked [/b] {LATIN1}"
    run("encode", here / "model.safetensors", here / "photos" / "test", "-o", asked)
    page = tmp_path / f"page [b] {LATIN1}.html"
    said = run(
        "evaluate", "--queries", asked, "--database", gallery, "--report", page, charset=charset
    )
    assert printable(page) in said.stdout
    assert f"query = {printable(asked)} (16)" in page.read_text("utf-8")
    assert Image.open(hits).width > 100


def test_broken_images_are_named_and_recorded(here, tmp_path):
    names = [f"defect {name[:200]}.png" for name in CLASSES]
    for name in names:
        (tmp_path / name).write_bytes(b"x")
    Image.new("RGB", (16, 16)).save(tmp_path / "good.png")
    arguments = ("encode", here / "model.safetensors", tmp_path, "-o", tmp_path / "[b]")
    said = run(*arguments, code=2).stderr
    assert all(printable(name) in said for name in names)
    run(*arguments, "--resume", "--on-broken", "skip")
    broken = json.loads((tmp_path / "[b]" / "gallery.json").read_text())["broken"]
    assert {Path(text).name.partition(" (")[0] for text in broken} >= {
        f"defect {LATIN1} \udc80.png"
    }


def test_labels_of_archives_may_be_very_long(here, tmp_path):
    [photo] = (here / "photos" / "test" / CLASSES[0]).iterdir()
    (tmp_path / "0.cls").write_bytes(b"[/b] K\xf6nig " + b"l" * 200_000)
    with tarfile.open(tmp_path / "w.tar", "w") as tar:
        tar.add(photo, "0.png")
        tar.add(tmp_path / "0.cls", "0.cls")
    run("encode", here / "model.safetensors", tmp_path / "w.tar", "-o", tmp_path / "g")
    assert len(answer("search", tmp_path / "g", photo)["queries"][0]["hits"][0]["label"]) == 200_011
    said = run("search", tmp_path / "g", photo).stdout
    assert r"[/b] K\xf6nig ll" in said and "l" * 100 not in said


@pytest.fixture(scope="module")
def trained(here):
    output = here / f"run [/b] {LATIN1}"
    said = run(
        "train", "--preset", "cifar10-dsh-quick-12", "-o", output, "--data", "folder",
        "--root", here / "photos", "--set", "data.options={}", "--set", "schedule.iterations=1",
        "--set", "run.threads=1", "--set", "model.network=small",
        "--set", 'model.options={"width": 8}', charset="ascii",
    )  # fmt: skip
    assert printable(output / "report.html") in said.stdout
    return output


def test_a_run_is_evaluated_and_drawn(trained, tmp_path):
    run("evaluate", "--run", trained, "--report", tmp_path / "page.html", charset="ascii")
    text = (tmp_path / "page.html").read_text("utf-8")
    assert "<script" not in text and "&lt;script&gt;" in text
    run("visualize", trained, "-o", tmp_path, "--kind", "grid", charset="ascii")
    with open(
        tmp_path / "grid.csv", encoding="utf-8", errors="surrogateescape", newline=""
    ) as file:
        queries = {row["query"] for row in csv.DictReader(file)}
    assert len(queries) == 6 and queries < set(CLASSES)
    said = run("train", "-o", trained, "--resume").stdout
    assert printable(trained) in said


def test_what_a_run_leaves_holds_the_exact_names(trained, here):
    for file in ("config.json", "result.json"):
        config = json.loads((trained / file).read_text("ascii"))
        assert config.get("config", config)["data"]["root"] == str(here / "photos")


def test_tensorboard_says_that_it_cannot_write_such_a_path(here):
    said = run(
        "train", "--preset", "folder-12", "--root", here / "photos", "-o", here / "new",
        "--tensorboard", code=2,
    ).stderr  # fmt: skip
    assert "run.tensorboard needs an output folder whose path is UTF-8" in said
    assert not (here / "new").exists()


def test_serve_gives_the_exact_names_and_thumbnails(gallery, monkeypatch):
    pytest.importorskip("fastapi")
    from semicon_fast import serve

    def look(application, listening, limits):
        listening.close()
        found = []
        for start in (0, 24):
            status, _, content = ask(application, f"/api/images?start={start}&count=24")
            assert status == 200 and content.isascii()
            found += json.loads(content)["images"]
        opened = Gallery.open(gallery)
        assert [picture["label"] for picture in found] == opened.labels
        assert [picture["name"] for picture in found] == [
            os.path.basename(image) for image in opened.images
        ]
        for picture in found:
            status, headers, content = ask(application, picture["image"])
            assert status == 200 and content.startswith(b"\xff\xd8")
            assert all((name + value).isascii() for name, value in headers)
        status, _, content = ask(application, "/api/images/0/neighbours?k=3&part=%5B/b%5D%FF%00")
        assert status == 422 and "part must be one of" in json.loads(content)["detail"]

    monkeypatch.setattr(serve, "run", look)
    run("serve", gallery, "--port", "0")


@pytest.mark.parametrize("charset", ["utf-8", "ascii"])
@pytest.mark.parametrize("name", CLASSES)
def test_a_mistake_is_one_sentence_whatever_the_name(name, charset, tmp_path):
    wrong = tmp_path / "none" / name
    for arguments in (
        ("index", wrong),
        ("search", wrong, "x"),
        ("encode", wrong, "x", "-o", "y"),
        ("explain", wrong, "x", "y"),
        ("evaluate", "--run", wrong),
        ("visualize", wrong, "-o", "y"),
        ("serve", wrong),
        ("train", "--preset", "folder-12", "--root", wrong, "-o", tmp_path / "new"),
    ):
        result = run(*arguments, charset=charset, code=2)
        said = result.stderr_bytes.decode(charset)
        assert said.startswith("error: ") and said.count("\n") == 1
        assert shown(wrong, charset) in said
    run(f"[/b] {name}", code=2, charset=charset)
    run("index", f"--{name}", code=2, charset=charset)


@pytest.mark.parametrize("name", [" 12 ", "none", "[1]", '"a"'])
def test_the_root_of_the_data_may_have_a_name_that_settings_read_otherwise(name, tmp_path):
    said = run("train", "--preset", "folder-12", "--root", name, "-o", tmp_path, "--show-config")
    assert json.loads(said.stdout)["data"]["root"] == name


@pytest.mark.parametrize("text", ["[/b] :dog: [red]x", "\x1b[31m\r", LATIN1, "-" * 5000])
def test_the_console_prints_literally(text, capsys):
    out = Console(width=20_000)
    say(out, "a ", (text, "bold"), " c")
    assert capsys.readouterr().out == f"a {printable(text)} c\n"
    out.print(table(text, (text,), [(text,), (text * 2,)]))
    assert capsys.readouterr().out.count(printable(text, 4096)) >= 4
