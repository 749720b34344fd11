"""Curves for TensorBoard: the log's figures, each step once, whatever happened to the run."""

import sys

import pytest

from semicon_fast.training import Interrupted, Trainer

SETTING = "run.tensorboard=true"


def curves(folder):
    """{tag: [(step, value), ...]} as TensorBoard reads the folder."""
    reader = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    found = reader.EventAccumulator(str(folder / "tensorboard"))
    found.Reload()
    tags = found.Tags()["scalars"]
    return {tag: [(e.step, e.value) for e in found.Scalars(tag)] for tag in tags}


def expected(tiny, folder):
    """The same from the log: three iterations of two epochs."""
    found = {}
    for line in tiny.log_of(folder):
        if line["event"] == "epoch":
            step = (line["iteration"] - 1) * 2 + line["epoch"]
            for name, value in {**line["loss"], "lr": line["lr"]}.items():
                tag = name if name == "lr" else f"loss/{name}"
                found.setdefault(tag, []).append((step, pytest.approx(value, rel=1e-6)))
        elif line["event"] == "evaluation":
            tag, value = f"mAP/{line['on']}", pytest.approx(line["mAP"], rel=1e-6)
            found.setdefault(tag, []).append((line["iteration"] * 2, value))
        elif line["event"] == "result":
            for way, figures in line["evaluation"].items():
                found[f"result mAP/{way}"] = [(6, pytest.approx(figures["mAP"], rel=1e-6))]
    return found


def test_a_run_stopped_and_killed_has_every_step_once(tiny, tmp_path):
    pytest.importorskip("tensorboard")

    def fit(**options):
        config = tiny.config(SETTING)
        return Trainer(config, tiny.data(), output=tmp_path, resume=True, **options).fit()

    with pytest.raises(tiny.Crash):
        fit(reporter=tiny.CrashAtRecord(5))
    with pytest.raises(Interrupted):
        fit(stop=tiny.StopAfter(4))
    fit()
    found = curves(tmp_path)
    assert found == expected(tiny, tmp_path)
    assert [step for step, _ in found["loss/total"]] == [1, 2, 3, 4, 5, 6]
    assert len(list((tmp_path / "tensorboard").iterdir())) == 3


def test_curves_asked_for_late_hold_what_came_before(tiny, tmp_path):
    pytest.importorskip("tensorboard")
    with pytest.raises(Interrupted):
        Trainer(tiny.config(), tiny.data(), output=tmp_path, stop=tiny.StopAfter(6)).fit()
    assert not (tmp_path / "tensorboard").exists()
    Trainer(tiny.config(SETTING), tiny.data(), output=tmp_path, resume=True).fit()
    assert curves(tmp_path) == expected(tiny, tmp_path)


def test_a_missing_package_is_named_before_anything_is_written(tiny, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    run = Trainer(tiny.config(SETTING), tiny.data(), output=tmp_path / "run")
    with pytest.raises(ValueError, match=r"not installed: pip install 'semicon_fast\[tensorboard"):
        run.fit()
    assert not (tmp_path / "run").exists()
