"""`visualize` and `explain` as a person types them, and the pages that other commands leave."""

import csv
import json
import shutil

import pytest
from PIL import Image
from typer.testing import CliRunner

from semicon_fast.cli import app


def run(*arguments, code=0):
    result = CliRunner().invoke(app, [str(a) for a in arguments])
    assert result.exit_code == code, result.output + result.stderr
    return result


def answer(*arguments):
    return json.loads(run(*arguments, "--json").stdout)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run on birdlets, by the command."""
    output = tmp_path_factory.mktemp("runs") / "run"
    run(
        "train", "--preset", "birdlets-48", "-o", output, "--set", "model.code_length=12",
        "--set", "schedule.iterations=1", "--set", "schedule.epochs=1", "--set", "run.threads=1",
        "--set", 'data.options={"classes": 2, "parts": 1, "train_per_class": 6, '
        '"query_per_class": 2, "size": 32}',
        "--set", "data.image_size=32",
    )  # fmt: skip
    return output


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Two images of the same kind, on disk."""
    from semicon_fast.data import load

    data = load("birdlets", classes=2, parts=1, train_per_class=2, query_per_class=1, size=32)
    folder = tmp_path_factory.mktemp("photos")
    for i in range(3):
        pixels = data.train.image(i).permute(1, 2, 0).numpy()
        Image.fromarray(pixels).save(folder / f"{i}.png")
    return folder


def test_train_and_evaluate_leave_a_page(trained, tmp_path):
    text = (trained / "report.html").read_text("utf-8")
    assert "4 queries against 12 database images" in text and "training" in text
    run("evaluate", "--run", trained)
    assert "semicon_fast 0" in (trained / "evaluation.html").read_text("utf-8")
    run("evaluate", "--run", trained, "--report", tmp_path / "own.html")
    assert (tmp_path / "own.html").is_file()


@pytest.fixture
def small_demo(trained, monkeypatch):
    """The demo trains what `trained` did."""
    from semicon_fast.training import Config, presets

    small = Config.model_validate_json((trained / "config.json").read_text("utf-8"))
    monkeypatch.setattr(presets, "preset", lambda name: small)


def test_the_demo_leaves_a_page_and_says_what_to_try_next(small_demo, tmp_path):
    said = run("demo", "-o", tmp_path).stdout
    text = (tmp_path / "report.html").read_text("utf-8")
    assert "chance" in said and "chance" in text
    assert "Curves" in text and not (tmp_path / "control").exists()
    with Image.open(tmp_path / "retrieval.png") as picture:
        assert picture.width > 300
    birds = sorted((tmp_path / "birds").rglob("*.png"))
    assert len(birds) == 4 and len({path.parent for path in birds}) == 2
    encode = f"semicon-fast encode {tmp_path / 'run'} {tmp_path / 'birds'} -o"
    assert encode in said and "semicon-fast serve" in said and "folder-small-48" in said
    assert str(tmp_path / "report.html") in run("demo", "-o", tmp_path, "--resume").stdout
    assert "holds a run already" in run("demo", "-o", tmp_path, code=2).stderr


def test_the_demos_control_is_trained_when_asked_for(small_demo, tmp_path):
    said = answer("demo", "-o", tmp_path, "--control", "--seed", 3)
    assert said["report"] == str(tmp_path / "report.html")
    assert said["runs"].keys() == {"SEMICON", "shuffled labels"}
    shuffled = json.loads((tmp_path / "control" / "config.json").read_text("utf-8"))
    assert shuffled["data"]["options"]["shuffle_labels"] is True
    assert shuffled["run"]["seed"] == 3


def test_a_finished_run_keeps_its_page(trained):
    (trained / "report.html").unlink()
    run("train", "-o", trained, "--resume")
    assert (trained / "report.html").is_file(), "a page that is missing is made"


def test_evaluating_galleries_leaves_a_page(trained, photos, tmp_path):
    for name in "ab":
        (tmp_path / name / "bird").mkdir(parents=True)
        for path in photos.iterdir():
            (tmp_path / name / "bird" / path.name).write_bytes(path.read_bytes())
        run("encode", trained, tmp_path / name, "-o", tmp_path / f"{name}.gallery")
    run("evaluate", "--queries", tmp_path / "a.gallery", "--database", tmp_path / "b.gallery")
    assert "<table>" in (tmp_path / "b.gallery" / "evaluation.html").read_text("utf-8")


def test_visualize_writes_pictures_and_tables(trained, photos, tmp_path):
    made = answer(
        "visualize", trained, "-o", tmp_path, "--images", photos, "--kind", "maps,grid",
        "--format", "png,svg",
    )  # fmt: skip
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {f"{k}.{e}" for k in ("maps", "grid") for e in ("png", "svg", "csv")}
    assert list(made["pictures"]) == ["maps", "grid"] and made["not_there"] == []
    rows = list(csv.DictReader((tmp_path / "maps.csv").open()))
    assert {row["image"] for row in rows} == {"0.png", "1.png", "2.png"}
    assert made["passed_over"] == {}


def test_visualize_says_what_it_passes_over(trained, photos, tmp_path):
    shutil.copytree(photos, tmp_path / "in")
    (tmp_path / "in" / "._0.png").write_bytes(b"x")
    arguments = ["visualize", trained, "-o", tmp_path / "out", "--images", tmp_path / "in"]
    said = run(*arguments, "--kind", "grid").stdout
    assert said.splitlines()[-1] == "passed over 1: 1 hidden file or folder"


def test_explain_by_files_and_by_ids(trained, photos, tmp_path):
    found = answer(
        "explain", trained, photos / "0.png", photos / "2.png", "--picture", tmp_path / "why.png"
    )
    assert sum(part["distance"] for part in found["parts"].values()) == found["distance"]
    assert list(found["parts"]) == ["global", "part1", "part2", "part3"]
    with Image.open(tmp_path / "why.png") as picture:
        assert picture.width > 500
    run("encode", trained, photos, "-o", tmp_path / "gallery")
    by_id = answer("explain", tmp_path / "gallery", photos / "0.png", "2")
    assert by_id["distance"] == found["distance"] and by_id["hit"].endswith("2.png")
    text = run("explain", trained, photos / "0.png", photos / "0.png").stdout
    assert "global" in text and "all" in text
