"""Whole runs: what they leave behind, which model they keep, what they refuse, how they stop."""

import errno
import json
import multiprocessing
import os
import signal
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from semicon_fast import methods, models
from semicon_fast.codes import pack_codes
from semicon_fast.training import (
    Config,
    Interrupted,
    Reporter,
    Trainer,
    encoded_run,
    evaluate_run,
    trainer,
)
from semicon_fast.training.learner import Learner
from semicon_fast.training.sides import ASYMMETRIC, CENTERS, SYMMETRIC

METHODS = {
    "semicon": (),
    "adsh": ("method.name=adsh",),
    "shc": ("method.name=shc", 'method.options={"centers":"hadamard"}'),
    "dsh": ("method.name=dsh", "optimizer.name=adamw", "schedule.lr=onecycle"),
    "classify": ("method.name=classify", "model.code_length=3"),
    "dpsh": ("method.name=dpsh",),
    "hashnet": ("method.name=hashnet", "schedule.batch_size=16"),
    "hashnet with a bank": ("method.name=hashnet", 'method.options={"pairs":"bank"}'),
    "csq": ("method.name=csq",),
    "orthohash": ("method.name=orthohash",),
    "crh": ("method.name=crh",),
}
# Their codes of the database are the network's.
SYMMETRIC_ALONE = {"dsh", "classify", "dpsh", "hashnet", "hashnet with a bank"}
WITH_CENTERS = {"shc", "csq", "orthohash", "crh"}


def fit(tiny, folder, *settings, data=None, **options):
    config = tiny.config(*settings)
    return Trainer(config, data or tiny.data(), output=folder, **options).fit()


@pytest.mark.parametrize("name", METHODS)
def test_a_run_leaves_model_log_codes_and_result(tiny, tmp_path, name):
    result = fit(tiny, tmp_path, *METHODS[name])
    learned = name not in SYMMETRIC_ALONE
    ways = [CENTERS if name in WITH_CENTERS else ASYMMETRIC, SYMMETRIC] if learned else [SYMMETRIC]
    assert list(result.evaluation) == ways
    # A sum of many rounded precisions may exceed 1 by a rounding error.
    assert all(0 <= result.evaluation[way]["mAP"] <= 1 + 1e-12 for way in ways)
    assert result.protocol == tiny.data().protocol
    assert json.loads((tmp_path / "result.json").read_text()) == result.to_dict()
    assert result.selection["mode"] == "holdout" and "held out" in result.selection["kept"]
    events = [line["event"] for line in tiny.log_of(tmp_path)]
    assert events == ["start", *["epoch", "epoch", "evaluation"] * 3, "result"]
    model = models.load(tmp_path / "model.safetensors")
    assert model.preprocess["recipe"] == "small" and model.preprocess["size"] == 8
    assert (tmp_path / "codes.safetensors").exists() == learned
    stored = Config.model_validate_json((tmp_path / "config.json").read_text())
    assert stored == result.config


@pytest.mark.parametrize("name", METHODS)
def test_it_learns(tiny, tmp_path, name):
    """Classes are the brightest channel; the chance level is 1/3."""
    settings = (*METHODS[name], "schedule.iterations=6", "schedule.samples=null")
    settings = (*settings, "optimizer.name=adamw", "optimizer.lr=0.02", "selection.mode=last")
    result = fit(tiny, tmp_path, *settings)
    assert result.evaluation[SYMMETRIC]["mAP"] > 0.65


@pytest.mark.parametrize("name", METHODS)
def test_it_trains_on_images_with_several_labels(tiny, tmp_path, name):
    settings = (*METHODS[name], "selection.mode=last", "schedule.iterations=1")
    data = tiny.data(multi_label=True)
    if name in ("shc", "classify"):
        with pytest.raises(ValueError, match="one label for each image"):
            fit(tiny, tmp_path, *settings, data=data)
        return
    losses = [line["loss"] for line in fit_and_log(tiny, tmp_path, settings, data)]
    assert len(losses) == 2 and all(loss["total"] > 0 for loss in losses)


def fit_and_log(tiny, folder, settings, data):
    fit(tiny, folder, *settings, data=data)
    return [line for line in tiny.log_of(folder) if line["event"] == "epoch"]


def test_evaluating_the_folder_gives_the_figures_of_the_result(tiny, tmp_path):
    result = fit(tiny, tmp_path)
    again = evaluate_run(tmp_path, data=tiny.data())
    for way in (ASYMMETRIC, SYMMETRIC):
        assert again["evaluation"][way]["mAP"] == result.evaluation[way]["mAP"]
        assert len(again["evaluation"][way]["curve"]["recall"]) == 9
    found = encoded_run(tmp_path, data=tiny.data())
    assert found.bits == 8 and found.database.shape == (30, 1) and found.queries.shape == (12, 1)
    with pytest.raises(ValueError, match="no finished run: config.json"):
        encoded_run(tmp_path / "nowhere", data=tiny.data())


def test_held_out_images_are_never_learned_from_but_get_codes(tiny, tmp_path, monkeypatch):
    seen = set()
    step = Learner._step

    def watched(self, batch):
        seen.update(batch.rows.tolist())
        return step(self, batch)

    monkeypatch.setattr(Learner, "_step", watched)
    run = Trainer(tiny.config("schedule.samples=null"), tiny.data(), output=tmp_path)
    run.fit()
    held = set(run.selection.held.tolist())
    assert len(held) == 3 and not seen & held and len(seen) == 27
    codes = load_file(tmp_path / "codes.safetensors")
    assert codes["codes"].shape == (30, 1) and codes["labels"].shape == (30,)
    evaluations = [x for x in tiny.log_of(tmp_path) if x["event"] == "evaluation"]
    assert {(x["queries"], x["database"]) for x in evaluations} == {(3, 27)}


def test_the_best_model_is_kept_with_the_codes_of_its_iteration(tiny, tmp_path, monkeypatch):
    figures = iter([0.2, 0.9, 0.5])
    monkeypatch.setattr(
        "semicon_fast.training.selection.metrics.mean_average_precision",
        lambda *_, **__: next(figures),
    )
    weights, codes = [], []
    finish = methods.SEMICONObjective.end_iteration

    run = Trainer(tiny.config(), tiny.data(), output=tmp_path)

    def watched(self):
        finish(self)
        codes.append(pack_codes(self.codes))
        weights.append({k: v.clone() for k, v in run.learner.model.state_dict().items()})

    monkeypatch.setattr(methods.SEMICONObjective, "end_iteration", watched)
    result = run.fit()
    assert (result.selection["iteration"], result.selection["mAP"]) == (2, 0.9)
    kept = load_file(tmp_path / "model.safetensors")
    assert all(torch.equal(kept[name], weights[1][name]) for name in kept)
    assert not torch.equal(kept["hash.weight"], weights[2]["hash.weight"])
    assert torch.equal(load_file(tmp_path / "codes.safetensors")["codes"], codes[1])


def test_selection_on_the_test_set_is_said_in_log_and_result(tiny, tmp_path):
    result = fit(tiny, tmp_path, "selection.mode=test")
    assert "test set" in result.selection["kept"]
    assert "test set" in tiny.log_of(tmp_path)[0]["selection"]
    evaluations = [x for x in tiny.log_of(tmp_path) if x["event"] == "evaluation"]
    assert {x["on"] for x in evaluations} == {"the test set"}
    best = max(x["mAP"] for x in evaluations)
    assert result.evaluation[ASYMMETRIC]["mAP"] == best == result.selection["mAP"]


def test_selecting_the_last_evaluates_only_at_the_end(tiny, tmp_path):
    result = fit(tiny, tmp_path, "selection.mode=last")
    assert "evaluation" not in {x["event"] for x in tiny.log_of(tmp_path)}
    assert result.selection["iteration"] == 3


def test_every_other_iteration_and_the_last_are_evaluated(tiny, tmp_path):
    fit(tiny, tmp_path, "selection.every=2")
    found = [x["iteration"] for x in tiny.log_of(tmp_path) if x["event"] == "evaluation"]
    assert found == [2, 3]


def test_learned_codes_of_a_part_of_the_database_are_not_used_as_the_database(tiny, tmp_path):
    data = tiny.data()
    part = torch.arange(0, 30, 2)
    data = replace(data, train=data.train.subset(part), train_rows=part)
    result = fit(tiny, tmp_path, data=data)
    assert list(result.evaluation) == [SYMMETRIC]
    permuted = torch.randperm(30, generator=torch.Generator().manual_seed(0))
    whole = tiny.data()
    whole = replace(whole, train=whole.train.subset(permuted), train_rows=permuted)
    other = fit(tiny, tmp_path / "other", data=whole)
    codes = load_file(tmp_path / "other" / "codes.safetensors")["codes"]
    found = encoded_run(tmp_path / "other", data=whole)
    assert torch.equal(found.learned[permuted], codes) and ASYMMETRIC in other.evaluation


@pytest.mark.parametrize("name", [n for n in METHODS if n not in ("shc", "classify")])
def test_images_with_several_labels_are_learned_too(tiny, tmp_path, name):
    result = fit(tiny, tmp_path, *METHODS[name], data=tiny.data(multi_label=True))
    assert 0 <= result.evaluation[SYMMETRIC]["mAP"] <= 1


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_half_precision_keeps_losses_and_codes_in_full(tiny, tmp_path, monkeypatch, precision):
    kinds = set()
    loss = methods.SEMICONObjective.loss

    def watched(self, output, labels, rows):
        kinds.update({output.codes.dtype, output.features.dtype})
        assert not torch.is_autocast_enabled("cpu")
        return loss(self, output, labels, rows)

    monkeypatch.setattr(methods.SEMICONObjective, "loss", watched)
    result = fit(tiny, tmp_path, f"run.precision={precision}")
    assert kinds == {torch.float32}
    assert 0 <= result.evaluation[SYMMETRIC]["mAP"] <= 1


def test_channels_last_gives_a_usable_model(tiny, tmp_path):
    fit(tiny, tmp_path, "run.channels_last=true")
    assert models.load(tmp_path / "model.safetensors").code_length == 8


def test_worker_processes_do_not_change_a_number(tiny, tmp_path):
    fit(tiny, tmp_path / "0", "schedule.iterations=1")
    config = tiny.config("schedule.iterations=1", "run.workers=2")
    run = Trainer(config, tiny.data(), output=tmp_path / "2")
    run.fit()
    assert not multiprocessing.active_children(), "a worker is left"
    a, b = (load_file(tmp_path / n / "model.safetensors") for n in "02")
    assert all(torch.equal(a[name], b[name]) for name in a)


def test_the_callers_random_state_and_threads_are_untouched(tiny, tmp_path):
    torch.manual_seed(5)
    before, threads = torch.get_rng_state(), torch.get_num_threads()
    handler = signal.getsignal(signal.SIGINT)
    fit(tiny, tmp_path, "schedule.iterations=1")
    assert torch.equal(torch.get_rng_state(), before) and torch.get_num_threads() == threads
    assert signal.getsignal(signal.SIGINT) is handler


def test_a_longer_code_starts_from_a_shorter_one(tiny, tmp_path):
    dsh = ("method.name=dsh", "model.network=dsh", "optimizer.lr=0.001", "schedule.iterations=1")
    dsh = (*dsh, 'model.options={"image_size":8}')
    fit(tiny, tmp_path / "short", *dsh, "model.code_length=4")
    start = tmp_path / "short" / "model.safetensors"
    run = Trainer(tiny.config(*dsh, f"model.start={start}"), tiny.data(), output=tmp_path / "long")
    result = run.fit()
    assert models.load(tmp_path / "long" / "model.safetensors").code_length == 8
    assert result.evaluation[SYMMETRIC]["bits"] == 8
    # Ten times the learning rate for the new layer, twice that for its bias.
    assert sorted({g["lr"] for g in run.learner.optimizer.param_groups}) == pytest.approx(
        [0.001, 0.002, 0.01, 0.02]
    )


def test_a_start_of_another_kind_is_refused(tiny, tmp_path):
    fit(tiny, tmp_path / "short", "schedule.iterations=1", "model.code_length=4")
    start = tmp_path / "short" / "model.safetensors"
    with pytest.raises(ValueError, match="4-bit codes, not 8"):
        fit(tiny, tmp_path / "long", f"model.start={start}")
    with pytest.raises(ValueError, match="'small' network, not 'dsh'"):
        fit(tiny, tmp_path / "x", f"model.start={start}", "model.network=dsh", "model.options={}")


def test_a_folder_with_a_run_is_refused(tiny, tmp_path):
    fit(tiny, tmp_path, "schedule.iterations=1")
    before = (tmp_path / "log.jsonl").read_bytes()
    with pytest.raises(ValueError, match="holds a run already.*--resume"):
        fit(tiny, tmp_path)
    assert (tmp_path / "log.jsonl").read_bytes() == before


@pytest.mark.parametrize(
    "setting, sentence",
    [
        ("run.device=tpu", "run.device must be auto, cpu or cuda"),
        ("method.options.gama=1", "no option 'gama'"),
        ("model.network=big", "network must be one of"),
        ("optimizer.momentum=0", "optimizer.nesterov needs"),
    ],
)
def test_what_cannot_run_is_said_before_anything_is_written(tiny, tmp_path, setting, sentence):
    with pytest.raises(ValueError, match=sentence):
        fit(tiny, tmp_path / "run", setting)
    assert not (tmp_path / "run").exists()


def test_a_loss_that_is_not_finite_names_its_batch_and_overwrites_nothing(
    tiny, tmp_path, monkeypatch
):
    loss = methods.SEMICONObjective.loss
    calls = iter(range(1000))

    def broken(self, output, labels, rows):
        terms = loss(self, output, labels, rows)
        # Three batches an epoch: the second batch of the first epoch of the second iteration.
        return {k: v * float("nan") for k, v in terms.items()} if next(calls) == 7 else terms

    monkeypatch.setattr(methods.SEMICONObjective, "loss", broken)
    with pytest.raises(ValueError, match="iteration 2, epoch 1, batch 2; .*checkpoints/000001;"):
        fit(tiny, tmp_path)
    assert sorted(p.name for p in (tmp_path / "checkpoints").iterdir())[-1] == "000001"
    assert not (tmp_path / "model.safetensors").exists()


def test_a_full_disk_while_saving_keeps_the_last_checkpoint(tiny, tmp_path, monkeypatch):
    from semicon_fast.training import checkpoint

    real, calls = checkpoint.save_file, iter(range(1000))

    def full(*arguments):
        if next(calls) == 3:
            raise OSError(errno.ENOSPC, "No space left on device")
        real(*arguments)

    monkeypatch.setattr(checkpoint, "save_file", full)
    with pytest.raises(OSError, match="000002: the disk is full; the last good.*000001-e01"):
        fit(tiny, tmp_path)
    monkeypatch.setattr(checkpoint, "save_file", real)
    fit(tiny, tmp_path, resume=True)
    fit(tiny, tmp_path / "whole")
    assert tiny.outcome(tmp_path) == tiny.outcome(tmp_path / "whole")


class Signal(Reporter):
    """Sends a signal to this process at the first epoch's end."""

    def __init__(self, number, times=1):
        self.number, self.times = number, times

    def record(self, record):
        if record["event"] == "epoch":
            for _ in range(self.times):
                os.kill(os.getpid(), self.number)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_saves_and_says_how_to_go_on(tiny, tmp_path, number):
    # Not always Python's own handler: a shell starts background jobs with SIGINT ignored.
    handler = signal.getsignal(signal.SIGINT)
    with pytest.raises(Interrupted, match="semicon-fast train --output .* --resume") as caught:
        fit(tiny, tmp_path, reporter=Signal(number))
    assert "iteration 1, epoch 2" in str(caught.value)
    assert signal.getsignal(signal.SIGINT) is handler
    result = fit(tiny, tmp_path, resume=True)
    assert result.evaluation == fit(tiny, tmp_path / "whole").evaluation


def test_a_second_ctrl_c_stops_at_once(tiny, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        fit(tiny, tmp_path, reporter=Signal(signal.SIGINT, times=2))
    assert not (tmp_path / "checkpoints").exists()


def test_worker_processes_that_die_of_the_signal_leave_the_last_checkpoint(
    tiny, tmp_path, monkeypatch
):
    run = Trainer(tiny.config(), tiny.data(), output=tmp_path)
    step, calls = Learner._step, iter(range(1000))

    def dying(self, batch):
        if next(calls) == 7:
            run.stop.requested = True
            raise RuntimeError("DataLoader worker (pid(s) 7) exited unexpectedly")
        return step(self, batch)

    with monkeypatch.context() as patch:
        patch.setattr(Learner, "_step", dying)
        with pytest.raises(Interrupted, match="worker processes; saved in .*/000001; resume with"):
            run.fit()
    fit(tiny, tmp_path, resume=True)
    fit(tiny, tmp_path / "whole")
    assert tiny.outcome(tmp_path) == tiny.outcome(tmp_path / "whole")


class Anchored(methods.SEMICONObjective):
    """A method with a head of its own and anchors from a pass over the data."""

    name = "anchored"

    def begin(self, labels, code_length, generator):
        super().begin(labels, code_length, generator)
        self.head = nn.Linear(code_length, 3)
        with torch.no_grad():
            self.head.weight.normal_(generator=generator)
        self.register_buffer("anchors", torch.zeros(len(labels), 16))
        self.draws = generator

    def wants_features(self, iteration):
        return iteration >= 1

    def take_features(self, batches):
        for output, rows in batches:
            self.anchors[rows] = output.features

    def loss(self, output, labels, rows):
        terms = super().loss(output, labels, rows)
        exchanged = torch.rand(len(rows), 1, generator=self.draws) < 0.5
        features = torch.where(exchanged, self.anchors[rows], output.features)
        logits = self.head(output.codes)
        return {
            **terms,
            "class": nn.functional.cross_entropy(logits, labels),
            "align": (features - output.features).square().mean(),
        }


def test_heads_anchors_and_draws_of_a_method_survive_a_stop(tiny, tmp_path, monkeypatch):
    monkeypatch.setitem(methods.METHODS, "anchored", Anchored)
    run = Trainer(tiny.config("method.name=anchored"), tiny.data(), output=tmp_path / "whole")
    run.fit()
    assert run.learner.method.anchors.abs().sum() > 0
    assert "class" in tiny.log_of(tmp_path / "whole")[1]["loss"]
    for places in (3, 9, 12, 20):
        folder = tmp_path / str(places)
        with pytest.raises(Interrupted):
            fit(tiny, folder, "method.name=anchored", stop=tiny.StopAfter(places))
        fit(tiny, folder, "method.name=anchored", resume=True)
        assert tiny.outcome(folder) == tiny.outcome(tmp_path / "whole")


def test_progress_is_reported_without_a_terminal(tiny, tmp_path):
    notes = tiny.Notes()
    fit(tiny, tmp_path, reporter=notes)
    assert [r["event"] for r in notes.records] == [r["event"] for r in tiny.log_of(tmp_path)]
    assert trainer.REPORT_EVERY > 1
