"""Studies of two tiny rows: run, stopped and gone on with, with a row that fails, drawn again."""

import csv
import json

import pytest
import torch
from safetensors.torch import load_file

from semicon_fast import metrics, shallow
from semicon_fast.codes import unpack_codes
from semicon_fast.studies import output, plan, runner
from semicon_fast.studies.study import Features, Missing, Shallow
from semicon_fast.training import Interrupted, Reporter, Stop


def rows_of(folder, name="table.csv"):
    with open(folder / name, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


class Kill(BaseException):
    """What no code expects, as the end of a process."""


class KillAtEpoch(Reporter):
    def __init__(self, epochs):
        self.epochs = epochs

    def record(self, record):
        self.epochs -= record["event"] == "epoch"
        if self.epochs < 0:
            raise Kill


class StopAtEpoch(Reporter):
    """Requests a stop, as Ctrl-C does, at the end of an epoch."""

    def __init__(self, epochs, stop):
        self.epochs, self.stop = epochs, stop

    def record(self, record):
        self.epochs -= record["event"] == "epoch"
        self.stop.requested = self.epochs <= 0


class Notes(Reporter):
    def __init__(self):
        self.notices, self.warnings = [], []

    def notice(self, text):
        self.notices.append(text)

    def warning(self, text):
        self.warnings.append(text)


def files_of(runs):
    """The tensors that a stopped run must share with an uninterrupted one, as bytes."""
    return {
        (path.relative_to(runs), name): tensor.numpy().tobytes()
        for path in runs.rglob("*.safetensors")
        if "checkpoints" not in path.parts
        for name, tensor in load_file(path).items()
    }


def test_a_study_is_run_and_its_table_has_ours_beside_the_published(tiny, tmp_path):
    study, setup = tiny.register(), tiny.setup(tmp_path)
    assert runner.run(study, setup) == {}
    folder = tmp_path / "tiny"
    a, b = rows_of(folder)
    codes = load_file(tmp_path / "runs/folder-small-12-encoded/seed-68/encoded.safetensors")
    operands = [codes[n] for n in ("queries", "database", "query_labels", "database_labels")]
    score = metrics.mean_average_precision(*operands, bits=8, ties="expected")
    assert b["mAP"] == f"{score:.4f}" and b["mAP published"] == "0.2500"
    assert b["mAP difference"] == f"{score - 0.25:.4f}"
    assert (a["database codes"], b["database codes"]) == (
        "asymmetric (learned database codes)",
        "symmetric (encoded database)",
    )
    assert (a["mAP spread"], a["seeds"], a["state"]) == ("", "1", "")
    runs = rows_of(folder, "runs.csv")
    assert [r["row"] for r in runs] == ["a-8", "a-8", "b-8"] and runs[2]["mAP"] == b["mAP"]
    assert all(r["study"] == "tiny" and r["seed"] == "68" and r["device"] for r in runs)
    for name in ("figure-mAP", "figure-curves"):
        for suffix in ("png", "svg", "csv"):
            assert (folder / f"{name}.{suffix}").stat().st_size > 0
    points = rows_of(folder, "figure-mAP.csv")
    assert [(p["row"], p["values"]) for p in points][:2] == [
        ("paper's data, a-8 (learned database codes)", "published"),
        ("paper's data, a-8 (learned database codes)", "ours"),
    ]
    page = (folder / "index.html").read_text("utf-8")
    assert "a protocol" in page and b["mAP"] in page and "data:image/svg+xml" in page
    assert "codes that are learned have seen" in page and "codes that are encoded come" in page
    assert f"| {b['mAP']} |" in (folder / "table.md").read_text("utf-8")


@pytest.mark.parametrize("epochs", [1, 5])
def test_killed_in_the_middle_it_goes_on_to_the_same_bits(tiny, tmp_path, epochs):
    study = tiny.register()
    assert runner.run(study, tiny.setup(tmp_path / "whole")) == {}
    setup = tiny.setup(tmp_path / "killed")
    with pytest.raises(Kill):
        runner.run(study, setup, reporter=KillAtEpoch(epochs))
    assert not (tmp_path / "killed" / "tiny").exists()
    assert runner.run(study, setup) == {}
    assert files_of(tmp_path / "killed" / "runs") == files_of(tmp_path / "whole" / "runs")
    tables = [rows_of(tmp_path / name / "tiny") for name in ("whole", "killed")]
    assert tables[0] == tables[1]


def test_ctrl_c_keeps_what_is_done_and_says_how_to_go_on(tiny, tmp_path):
    study, setup, stop = tiny.register(), tiny.setup(tmp_path), Stop()
    with pytest.raises(Interrupted, match="go on with: semicon-fast study run tiny -o .*--root"):
        runner.run(study, setup, reporter=StopAtEpoch(5, stop), stop=stop)
    states = [row["state"] for row in rows_of(tmp_path / "tiny")]
    assert states[0] == "" and states[1].startswith("to run: semicon-fast study run tiny")
    assert [job.state for job in plan.jobs(study, setup)] == ["done", "stopped"]
    assert runner.run(study, setup) == {}


def test_a_failing_row_is_named_and_the_others_are_done(tiny, tmp_path):
    later = tiny.train("later", start=tiny.FAILING)
    rows = (
        tiny.row("bad-8", tiny.FAILING, 0.5),
        tiny.row("later-8", later, 0.5),
        tiny.row("none-8", Missing("needs what is not there"), 0.5),
        tiny.row("good-8", tiny.ENCODED, 0.5),
    )
    study, notes = tiny.register(*rows), Notes()
    failed = runner.run(study, tiny.setup(tmp_path), reporter=notes)
    assert list(failed) == ["bad-8", "later-8"] and "nosuch" in failed["bad-8"]
    assert failed["later-8"] == failed["bad-8"]
    assert any("bad-8, later-8 failed" in text for text in notes.warnings)
    found = {row["row"]: row for row in rows_of(tmp_path / "tiny")}
    assert found["bad-8"]["state"].startswith("failed: method semicon has no option 'nosuch'")
    assert found["bad-8"]["mAP"] == "" and found["good-8"]["mAP"] != ""
    assert found["none-8"]["state"] == "needs what is not there"
    output.show(tmp_path)
    assert rows_of(tmp_path / "tiny")[0]["state"].startswith("failed: ")


def test_a_row_that_starts_from_another_takes_its_weights(tiny, tmp_path):
    later = tiny.train("later", "schedule.iterations=1", start=tiny.ENCODED)
    study, setup = tiny.register(tiny.row("later-8", later, 0.5)), tiny.setup(tmp_path)
    jobs = plan.jobs(study, setup)
    assert [job.work for job in jobs] == [tiny.ENCODED, later]
    model = tmp_path / "runs/folder-small-12-encoded/seed-68/model.safetensors"
    assert jobs[1].config.model.start == str(model) and jobs[1].needs == (model.parent,)
    assert runner.run(study, setup) == {}


def test_codes_of_an_ensemble_are_side_by_side(tiny, tmp_path):
    members = tuple(tiny.train("encoded", 'method.name="dsh"', member=i, members=2) for i in (0, 1))
    both = tiny.Ensemble("both", members)
    rows = (
        tiny.row("one-8", members[0], 0.5),
        tiny.row("two-8", members[1], 0.5),
        tiny.row("both-8", both, 0.5),
    )
    study, setup = tiny.register(*rows), tiny.setup(tmp_path)
    assert runner.run(study, setup) == {}
    runs = tmp_path / "runs" / "folder-small-12-encoded"
    pieces = [load_file(runs / f"seed-{s}" / "encoded.safetensors") for s in (68, 69)]
    assert not torch.equal(pieces[0]["queries"], pieces[1]["queries"])
    signs = [
        torch.cat([unpack_codes(p[name], 8) for p in pieces], 1).float()
        for name in ("queries", "database")
    ]
    distances = (16 - signs[0] @ signs[1].T) / 2
    relevant = pieces[0]["query_labels"][:, None] == pieces[0]["database_labels"]
    close = distances <= 2
    share = (close & relevant).sum(1) / close.sum(1).clamp(min=1)
    record = json.loads((tmp_path / "runs/both/seed-68/measured.json").read_text())
    found = record["evaluation"]["symmetric (encoded database)"]
    assert found["precision_within_radius_2"] == pytest.approx(float(share.mean()))
    assert (found["bits"], record["network"]) == (16, "ensemble")
    # In the second repetition the members have the next two seeds.
    again = plan.jobs(study, tiny.setup(tmp_path, seeds=2))
    assert [job.folder.name for job in again] == [
        "seed-68", "seed-70", "seed-69", "seed-71", "seed-68", "seed-69",
    ]  # fmt: skip


def test_settings_that_differ_from_those_of_a_run_are_refused(tiny, tmp_path):
    study = tiny.register(tiny.row("b-8", tiny.ENCODED, 0.5))
    assert runner.run(study, tiny.setup(tmp_path)) == {}
    changed = tiny.setup(tmp_path, settings=("optimizer.lr=0.5",))
    run = tmp_path / "runs/folder-small-12-encoded/seed-68"
    (run / "measured.json").unlink()
    failed = runner.run(study, changed)
    assert "was trained with other settings (optimizer.lr)" in failed["b-8"]


def test_a_data_set_that_is_nowhere_is_refused_before_anything_is_written(tiny, tmp_path):
    study = tiny.register()
    with pytest.raises(ValueError, match="data set folder needs root"):
        runner.run(study, plan.Setup(tmp_path / "new"))
    assert not (tmp_path / "new").exists()


def test_without_a_folder_the_small_setting_has_generated_images_and_no_difference(tiny, tmp_path):
    study = tiny.register(tiny.row("b-8", tiny.ENCODED, 0.5))
    options = ('data.options={"classes": 3, "train_per_class": 4, "query_per_class": 2}',)
    setup = plan.Setup(tmp_path, budget="small", settings=options)
    assert runner.run(study, setup) == {}
    (found,) = rows_of(tmp_path / "tiny-small")
    assert found["data"] == "birdlets" and found["mAP"] and found["mAP difference"] == ""
    page = (tmp_path / "tiny-small" / "index.html").read_text("utf-8")
    assert "Small setting, not the published one. Tiny." in page and "not comparable" in page


def test_shallow_methods_hash_the_features_of_a_network(tiny, tmp_path):
    features = Features("of-encoded", "network", tiny.ENCODED)
    rows = [tiny.row(f"{m}-8", Shallow(m, 4, features), 0.5) for m in ("lsh", "ksh")]
    study, setup = tiny.register(*rows), tiny.setup(tmp_path)
    assert runner.run(study, setup) == {}
    found = load_file(tmp_path / "runs/of-encoded/seed-68/features.safetensors")
    assert set(found) == {"train", "query", "train_labels", "query_labels"}
    assert torch.allclose(found["train"].norm(dim=1), torch.ones(len(found["train"])))
    hasher = shallow.build("lsh", 4, seed=68).fit(found["train"])
    score = metrics.mean_average_precision(
        hasher.encode(found["query"]), hasher.encode(found["train"]),
        found["query_labels"], found["train_labels"], bits=4, ties="expected",
    )  # fmt: skip
    lsh, ksh = rows_of(tmp_path / "tiny")
    assert lsh["mAP"] == f"{score:.4f}" and ksh["mAP"]
    (line, _) = rows_of(tmp_path / "tiny", "runs.csv")
    assert (line["method"], line["network"], line["bits"]) == ("lsh", "of-encoded", "4")
