"""The best model so far of a run that was stopped before its end."""

import json
import shutil

import pytest
import torch

from semicon_fast import models
from semicon_fast.training import Interrupted, Trainer, best_so_far, encoded_run
from semicon_fast.training.best import export_best, unfinished
from semicon_fast.training.checkpoint import newest_usable
from semicon_fast.training.evaluation import transform_of


def stopped(tiny, folder, places, *settings):
    run = Trainer(tiny.config(*settings), tiny.data(), output=folder, stop=tiny.StopAfter(places))
    with pytest.raises(Interrupted):
        run.fit()
    return run


@pytest.fixture(scope="module")
def evaluated(tiny, tmp_path_factory):
    """A run stopped in the first epoch of its third iteration; not to be changed."""
    folder = tmp_path_factory.mktemp("runs") / "run"
    return stopped(tiny, folder, 18), folder


@pytest.fixture
def copy(evaluated, tmp_path):
    shutil.copytree(evaluated[1], tmp_path / "copy")
    return tmp_path / "copy"


def same(model, tensors):
    state = model.state_dict()
    return state.keys() == tensors.keys() and all(torch.equal(state[n], tensors[n]) for n in state)


def test_it_is_the_network_of_the_best_evaluation_with_its_preprocessing(evaluated):
    run, folder = evaluated
    model, record = best_so_far(folder)
    assert same(model, run.selection._network) and not same(model, run.learner.model.state_dict())
    assert not model.training
    assert model.preprocess == transform_of(run.config.data, train=False).config()
    assert record == {
        "kept": "best so far",
        **run.selection.best,
        "iterations": 3,
        "on": "held-out training images",
    }


def test_it_is_the_last_network_where_none_was_evaluated(tiny, tmp_path):
    run = stopped(tiny, tmp_path, 4)
    model, record = best_so_far(tmp_path)
    assert same(model, run.learner.model.state_dict())
    assert record["kept"] == "last checkpoint" and record["checkpoint"] == "000000-e01-b000002"
    assert record["iteration"] == 1 and record["mAP"] is None
    path, _ = export_best(tmp_path)
    assert path == tmp_path / "checkpoint-000000-e01-b000002.safetensors"


def test_it_is_the_model_that_the_run_would_end_with(tiny, tmp_path):
    run = Trainer(tiny.config(), tiny.data(), output=tmp_path)
    run.fit()
    final = models.load(tmp_path / "model.safetensors")
    found = best_so_far(tmp_path)
    assert same(found.model, final.state_dict()) and found.model.preprocess == final.preprocess
    assert found.model.config() == final.config()


def test_the_written_file_says_where_it_is_from_and_is_always_the_same(copy):
    path, record = export_best(copy)
    assert path == copy / f"best-iteration-{record['iteration']}.safetensors"
    assert models.storage.record_of(path) == record
    assert same(models.load(path), best_so_far(copy).model.state_dict())
    before = path.read_bytes()
    export_best(copy)
    assert path.read_bytes() == before


def test_the_sentence_says_how_far_it_is_and_what_can_be_done(evaluated):
    run, folder = evaluated
    said = unfinished(folder)
    best = run.selection.best
    assert said.startswith(
        f"{folder} is not finished (iteration 3 of 3): its best model so far (iteration "
        f"{best['iteration']}, mAP {best['mAP']:.4f} on held-out training images) can be used with"
    )
    assert said.endswith(f"--from-checkpoint; or resume with: semicon-fast train --output {folder} "
                         "--resume")  # fmt: skip
    with pytest.raises(ValueError, match="is not finished"):
        encoded_run(folder)


def test_nothing_is_changed_by_looking(evaluated):
    partial = evaluated[1] / "checkpoints" / ".000009.partial"
    partial.mkdir()
    best_so_far(evaluated[1])
    partial.rmdir()


def test_a_damaged_checkpoint_is_passed_over_with_its_name(copy):
    newest = newest_usable(copy / "checkpoints")[0].path
    (newest / "tensors.safetensors").write_bytes(b"\0" * 100)
    warnings = []
    best_so_far(copy, warnings.append)
    assert len(warnings) == 1 and f"{newest.name} is damaged (the checksum" in warnings[0]
    assert warnings[0].endswith("using an older one")


def test_what_cannot_be_used_is_said(copy, tmp_path):
    with pytest.raises(ValueError, match="holds no checkpoint: .* was stopped before its first"):
        best_so_far(tmp_path)
    assert unfinished(tmp_path) is None
    for path in (copy / "checkpoints").iterdir():
        state = json.loads((path / "state.json").read_text())
        (path / "state.json").write_text(json.dumps({**state, "version": 7}))
    other = (
        "no checkpoint of .* can be used: .* is of version 7, this library reads 1; .* version 7"
    )
    for look in (best_so_far, unfinished):
        with pytest.raises(ValueError, match=other):
            look(copy)
    for path in (copy / "checkpoints").iterdir():
        (path / "state.json").write_text("{")
    with pytest.raises(ValueError, match=r"can be used: .* is damaged \(Expecting"):
        best_so_far(copy)


def test_a_configuration_that_is_not_known_here_is_said(copy):
    for path in (copy / "checkpoints").iterdir():
        state = json.loads((path / "state.json").read_text())
        state["config"]["run"]["later"] = 1
        (path / "state.json").write_text(json.dumps(state))
    with pytest.raises(ValueError, match="another version: run.later is not a setting"):
        best_so_far(copy)
