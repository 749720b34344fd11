"""The ensemble of several runs is a run: its codes, their evaluation, what cannot be joined."""

import pytest
import torch

from semicon_fast import metrics, models
from semicon_fast.codes import unpack_codes
from semicon_fast.training import Trainer, encoded_run, evaluate_run, join_runs
from semicon_fast.training.sides import ASYMMETRIC, CENTERS, SIDES, SYMMETRIC

SHORT = ("schedule.iterations=1", "schedule.epochs=1")
KINDS = {
    "dsh": ("method.name=dsh",),
    "semicon": ("model.code_length=5",),
    "shc": ("method.name=shc", 'method.options={"centers":"hadamard"}'),
}


@pytest.fixture(scope="module")
def runs(tiny, tmp_path_factory):
    """Two runs of each method, which differ in their seeds."""
    folder = tmp_path_factory.mktemp("members")
    for name, settings in KINDS.items():
        for seed in (1, 2):
            config = tiny.config(*settings, *SHORT, f"run.seed={seed}")
            Trainer(config, tiny.data(), output=folder / f"{name}{seed}").fit()
    return folder


@pytest.mark.parametrize("name", KINDS)
def test_it_is_evaluated_with_the_codes_of_its_members(tiny, runs, tmp_path, name):
    folders, data = [runs / f"{name}1", runs / f"{name}2"], tiny.data()
    joined = join_runs(folders, tmp_path / "both")
    own = encoded_run(tmp_path / "both", data=data)
    members = [encoded_run(folder, data=data) for folder in folders]
    assert own.bits == joined.code_length == sum(member.bits for member in members)
    for side in ("queries", "database", "learned", "centers"):
        found = [getattr(member, side) for member in members]
        if found[0] is None:
            assert getattr(own, side) is None
            continue
        wanted = [unpack_codes(c, m.bits) for c, m in zip(found, members, strict=True)]
        assert torch.equal(unpack_codes(getattr(own, side), own.bits), torch.cat(wanted, 1))
    evaluation = evaluate_run(tmp_path / "both", data=data)["evaluation"]
    more = {"dsh": [], "semicon": [ASYMMETRIC], "shc": [CENTERS]}[name]
    assert list(evaluation) == [*more, SYMMETRIC]
    score = metrics.mean_average_precision(
        own.queries, own.database, data.query.labels, data.database.labels,
        bits=own.bits, ties="expected",
    )  # fmt: skip
    assert evaluation[SYMMETRIC]["mAP"] == score
    parts = evaluation[SYMMETRIC]["parts"]["alone"]
    alone = [evaluate_run(folder, data=data)["evaluation"][SYMMETRIC]["mAP"] for folder in folders]
    assert list(parts.values()) == alone


def test_codes_of_different_kinds_are_not_joined(tiny, runs, tmp_path):
    for other in ("shc1", "dsh1"):
        join_runs([runs / "semicon1", runs / other], tmp_path / other)
        found = evaluate_run(tmp_path / other, data=tiny.data())["evaluation"]
        assert list(found) == [SIDES["encoded"]]


def test_the_model_says_what_it_was_made_of(runs, tmp_path):
    join_runs([runs / "dsh1", runs / "semicon1"], tmp_path / "both")
    record = models.storage.record_of(tmp_path / "both" / "model.safetensors")
    assert [m["model"] for m in record["members"]] == [
        str((runs / name / "model.safetensors").resolve()) for name in ("dsh1", "semicon1")
    ]
    assert models.load(tmp_path / "both" / "model.safetensors", 13).preprocess["size"] == 8


def test_what_cannot_be_joined_is_said_before_anything_is_written(tiny, runs, tmp_path):
    one = runs / "dsh1"
    config = tiny.config(*KINDS["dsh"], *SHORT, "data.transform=plain")
    Trainer(config, tiny.data(), output=tmp_path / "other").fit()
    with pytest.raises(ValueError, match="data.transform is 'small' in .* and 'plain' in"):
        join_runs([one, tmp_path / "other"], tmp_path / "both")
    with pytest.raises(ValueError, match="at least 2 runs, got 1"):
        join_runs([one], tmp_path / "both")
    with pytest.raises(ValueError, match="nowhere holds no finished run"):
        join_runs([one, tmp_path / "nowhere"], tmp_path / "both")
    assert not (tmp_path / "both").exists()
    join_runs([one, one], tmp_path / "both")
    with pytest.raises(ValueError, match="both holds a run already"):
        join_runs([one, one], tmp_path / "both")
    (tmp_path / "both" / "config.json").unlink()
    with pytest.raises(ValueError, match="both holds a model already"):
        join_runs([one, one], tmp_path / "both")


def test_without_its_last_file_it_is_no_run(runs, tmp_path, monkeypatch):
    def full(*_, **__):
        raise OSError("the disk is full")

    monkeypatch.setattr("semicon_fast.training.ensemble.atomic_write", full)
    with pytest.raises(OSError, match="the disk is full"):
        join_runs([runs / "dsh1", runs / "dsh2"], tmp_path / "both")
    with pytest.raises(ValueError, match="no finished run: config.json is missing"):
        encoded_run(tmp_path / "both")
