"""`semicon-fast study` on two tiny rows: what it prints, and its exit codes."""

import json

import pytest
from PIL import Image
from typer.testing import CliRunner

from semicon_fast.cli import app
from semicon_fast.studies import catalog
from semicon_fast.studies.study import Missing, Row, Study, Train

TINY = (
    "model.network=small", 'model.options={"width": 4}', "data.image_size=8",
    'data.transform="small"', "schedule.iterations=1", "schedule.epochs=1", "schedule.samples=4",
    "schedule.batch_size=4", "run.threads=1", 'run.device="cpu"',
)  # fmt: skip


def invoke(*arguments):
    return CliRunner().invoke(app, ["study", *map(str, arguments)])


@pytest.fixture
def photos(tmp_path):
    for part, count in (("train", 4), ("test", 1)):
        for name, colour in (("dark", 10), ("light", 200)):
            (tmp_path / "photos" / part / name).mkdir(parents=True)
            for i in range(count):
                shade = (colour + i, colour, colour)
                path = tmp_path / "photos" / part / name / f"{i}.png"
                Image.new("RGB", (8, 8), shade).save(path)
    return tmp_path / "photos"


@pytest.fixture
def register(monkeypatch):
    def register(**works):
        rows = tuple(Row(n, (n,), w, w, {"mAP": 0.5}) for n, w in works.items())
        study = Study("tiny", "Tiny rows", "A paper", "a protocol", ("method",), rows)
        monkeypatch.setitem(catalog.STUDIES, "tiny", study)

    return register


def test_a_plan_names_states_commands_and_what_cannot_be_run(register, photos, tmp_path):
    register(good=Train("folder-small-12", "good", TINY), none=Missing("needs the moon"))
    arguments = ("run", "tiny", "--root", photos, "-o", tmp_path / "out")
    plan = json.loads(invoke(*arguments, "--dry-run", "--json").stdout)
    (job,) = plan["jobs"]
    assert job["state"] == "to do" and job["rows"] == ["good"]
    assert job["command"].startswith("semicon-fast train --preset folder-small-12 --root ")
    assert "--set 'model.network=\"small\"'" in job["command"]
    assert plan["cannot be run"] == {"none": "needs the moon"}
    assert not (tmp_path / "out").exists()
    assert invoke(*arguments).exit_code == 0
    shown = invoke(*arguments, "--dry-run")
    assert shown.exit_code == 0 and "done" in shown.stdout and "needs the moon" in shown.stdout


def test_the_command_of_a_plan_trains_the_same_configuration(register, photos, tmp_path):
    register(good=Train("folder-small-12", "good", TINY))
    arguments = ("run", "tiny", "--root", photos, "-o", tmp_path / "out", "--dry-run", "--json")
    (job,) = json.loads(invoke(*arguments).stdout)["jobs"]
    import shlex

    words = shlex.split(job["command"])[1:]
    shown = json.loads(CliRunner().invoke(app, [*words, "--show-config"]).stdout)
    from semicon_fast.studies import plan

    setup = plan.Setup(tmp_path / "out", {"": str(photos)})
    (planned,) = plan.jobs(catalog.study_of("tiny"), setup)
    assert shown == planned.config.model_dump(mode="json")


def test_a_failing_row_makes_the_exit_code_1_and_is_named_last(register, photos, tmp_path):
    register(
        bad=Train("folder-small-12", "bad", (*TINY, "method.options.nosuch=1")),
        good=Train("folder-small-12", "good", TINY),
    )
    done = invoke("run", "tiny", "--root", photos, "-o", tmp_path / "out")
    assert done.exit_code == 1
    assert "bad failed: method semicon has no option 'nosuch'" in " ".join(done.stderr.split())
    assert (tmp_path / "out" / "tiny" / "index.html").is_file()
    shown = json.loads(invoke("show", tmp_path / "out", "--json").stdout)
    assert shown == {"pages": [str(tmp_path / "out" / "tiny" / "index.html")]}


def test_results_are_printed_beside_the_published_ones(register, photos, tmp_path):
    register(good=Train("folder-small-12", "good", TINY))
    done = invoke("run", "tiny", "--root", photos, "-o", tmp_path / "out", "--json")
    (row,) = json.loads(done.stdout)["rows"]
    assert row["mAP published"] == 0.5 and row["mAP"] - 0.5 == pytest.approx(row["mAP difference"])
    assert row["seeds"] == 1 and row["state"] == ""
