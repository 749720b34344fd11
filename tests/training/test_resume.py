"""A run that was stopped or killed anywhere ends in the same bits as one that was not."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from semicon_fast.training import Interrupted, Trainer

EXCHNET = (
    "method.name=exchnet",
    "model.network=exchnet",
    'model.options={"backbone":"micro","parts":2}',
    "data.image_size=16",
)
A2NET = (
    "method.name=a2net",
    "model.network=a2net",
    'model.options={"backbone":"micro","parts":2}',
    "data.image_size=16",
)
KINDS = {
    "semicon": (),
    "semicon on all images": ("schedule.samples=null", "run.checkpoint_every=iteration"),
    "semicon in bf16": ("run.precision=bf16", "run.channels_last=true"),
    "semicon chosen on the test set": ("selection.mode=test",),
    "adsh": ("method.name=adsh", "schedule.lr=step", "schedule.milestones=[1]"),
    "dsh": ("method.name=dsh", "optimizer.name=adamw", "schedule.lr=onecycle"),
    "exchnet": (*EXCHNET, 'method.options={"align":1,"gamma":200}'),
    "exchnet with running anchors": (
        *EXCHNET,
        'method.options={"align":1,"anchors":"running","squared":true,"alignment":0.01}',
    ),
    "a2net": (*A2NET, 'method.options={"finetune":1}'),
    "shc": (
        "method.name=shc",
        'method.options={"classify":1}',
        'classifier={"optimizer":{"name":"adamw","lr":0.01},"lr":"onecycle"}',
        "optimizer.name=rmsprop",
        "optimizer.nesterov=false",
        "schedule.lr=onecycle",
    ),
    "shc from mean features": ("method.name=shc", "selection.mode=test"),
    "shc that goes on": ("method.name=shc", 'method.options={"classify":2,"restart":false}'),
    "dsh by rmsprop": ("method.name=dsh", "optimizer.name=rmsprop", "selection.mode=last"),
}


def fit(tiny, folder, settings, **options):
    return Trainer(tiny.config(*settings), tiny.data(), output=folder, **options).fit()


@pytest.fixture(scope="module")
def whole(tiny, tmp_path_factory):
    """Outcome of the uninterrupted run of a kind, which is made once."""
    found = {}

    def outcome(kind):
        if kind not in found:
            folder = tmp_path_factory.mktemp("whole") / "run"
            fit(tiny, folder, KINDS[kind])
            found[kind] = tiny.outcome(folder)
        return found[kind]

    return outcome


# Half of the kills come in the first stage, half in the last.
HALVES = {kind: ("method.options.classify=8",) for kind in ("shc", "shc that goes on")}
SLOW = {"exchnet with running anchors", "shc that goes on"}


@pytest.mark.parametrize(
    "kind", [pytest.param(k, marks=pytest.mark.slow if k in SLOW else ()) for k in KINDS]
)
def test_stopped_again_and_again_it_ends_in_the_same_bits(tiny, whole, tmp_path, kind):
    settings = KINDS[kind]
    stops = 0
    while True:
        try:
            fit(tiny, tmp_path / "cut", settings, resume=stops > 0, stop=tiny.StopAfter(4))
            break
        except Interrupted:
            stops += 1
    assert stops >= 3
    assert tiny.outcome(tmp_path / "cut") == whole(kind)


def test_a_result_names_every_command_that_made_it(tiny, tmp_path, monkeypatch):
    monkeypatch.setattr("sys.argv", ["semicon-fast", "train", "--preset", "x"])
    with pytest.raises(Interrupted):
        fit(tiny, tmp_path, KINDS["dsh"], stop=tiny.StopAfter(2))
    monkeypatch.setattr("sys.argv", ["semicon-fast", "train", "--resume"])
    result = fit(tiny, tmp_path, KINDS["dsh"], resume=True)
    assert result.command == "semicon-fast train --preset x; semicon-fast train --resume"


@pytest.mark.parametrize("places", [0, 1, 2, 3])
def test_stopped_after_any_batch_it_ends_in_the_same_bits(tiny, whole, tmp_path, places):
    with pytest.raises(Interrupted):
        fit(tiny, tmp_path / "cut", (), stop=tiny.StopAfter(places))
    # Nothing but the checkpoint may carry over: another process has other global numbers.
    torch.manual_seed(places)
    fit(tiny, tmp_path / "cut", (), resume=True)
    assert tiny.outcome(tmp_path / "cut") == whole("semicon")


@pytest.mark.parametrize(
    "kind, lines",
    [("semicon", n) for n in (0, 1, 2, 3, 5, 9, 10)]
    + [("dsh", n) for n in (2, 9)]
    + [("shc", n) for n in (1, 3, 5)],
)
def test_dead_at_any_line_of_the_log_it_ends_in_the_same_bits(tiny, whole, tmp_path, kind, lines):
    settings = KINDS[kind]
    with pytest.raises(tiny.Crash):
        fit(tiny, tmp_path / "cut", settings, reporter=tiny.CrashAtRecord(lines))
    fit(tiny, tmp_path / "cut", settings, resume=True)
    assert tiny.outcome(tmp_path / "cut") == whole(kind)


def test_a_damaged_checkpoint_is_passed_over_with_its_name(tiny, whole, tmp_path):
    with pytest.raises(Interrupted):
        fit(tiny, tmp_path / "cut", (), stop=tiny.StopAfter(12))
    newest = sorted((tmp_path / "cut" / "checkpoints").iterdir())[-1]
    (newest / "tensors.safetensors").write_bytes(b"\0" * 100)
    notes = tiny.Notes()
    with pytest.warns(RuntimeWarning, match=f"{newest.name} is damaged"):
        fit(tiny, tmp_path / "cut", (), resume=True, reporter=notes)
    assert newest.name in notes.warnings[0]
    assert tiny.outcome(tmp_path / "cut") == whole("semicon")


def test_an_empty_folder_starts_from_the_beginning_and_says_so(tiny, whole, tmp_path):
    notes = tiny.Notes()
    fit(tiny, tmp_path / "run", (), resume=True, reporter=notes)
    assert "starting from the beginning" in notes.notices[0]
    assert tiny.outcome(tmp_path / "run") == whole("semicon")


def test_a_finished_run_returns_its_result(tiny, tmp_path):
    result = fit(tiny, tmp_path, ())
    before = (tmp_path / "log.jsonl").read_bytes()
    notes = tiny.Notes()
    again = fit(tiny, tmp_path, (), resume=True, reporter=notes)
    assert again.to_dict() == result.to_dict() and "nothing is left" in notes.notices[0]
    assert (tmp_path / "log.jsonl").read_bytes() == before


def stopped(tiny, folder):
    with pytest.raises(Interrupted):
        fit(tiny, folder, (), stop=tiny.StopAfter(5))


def test_another_configuration_is_refused_by_its_keys(tiny, tmp_path):
    stopped(tiny, tmp_path)
    changes = ("optimizer.lr=0.02", "schedule.iterations=4")
    with pytest.raises(ValueError, match="optimizer.lr, schedule.iterations"):
        fit(tiny, tmp_path, changes, resume=True)
    with pytest.raises(Interrupted):
        changes = ("run.workers=1", "run.threads=2", "run.device=auto", "data.root=moved")
        fit(tiny, tmp_path, changes, resume=True, stop=tiny.StopAfter(0))


def test_other_images_are_refused(tiny, tmp_path):
    stopped(tiny, tmp_path)
    data = tiny.data()
    data.train.labels[0] = 2
    with pytest.raises(ValueError, match="training images or their labels differ"):
        Trainer(tiny.config(), data, output=tmp_path, resume=True).fit()


CHILD = """
import runpy, sys, time
from pathlib import Path
tiny = runpy.run_path(sys.argv[1])
from semicon_fast.training import Reporter, Stop, Trainer

class Slowly(Stop):
    def check(self):
        print("a safe place", flush=True)
        time.sleep(0.05)
        super().check()

class Loud(Reporter):
    def notice(self, text):
        # The plan of the run: what was saved is read, and training begins.
        if "training images" in text:
            print("alive", flush=True)

config = tiny["make_config"]("schedule.iterations=20", *sys.argv[4:])
output = Path(sys.argv[2])
slow = Slowly() if sys.argv[3] == "slow" else Stop()
Trainer(config, tiny["make_data"](), output=output, resume=True, reporter=Loud(), stop=slow).fit()
"""


def child(folder, speed, settings):
    root = Path(__file__).resolve().parents[2]
    conftest = Path(__file__).with_name("conftest.py")
    environment = {**os.environ, "PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", CHILD, str(conftest), str(folder), speed, *settings]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    "kind",
    ["semicon", "exchnet", "exchnet with running anchors", *(k for k in KINDS if "shc" in k)],
)
def test_ten_kills_at_random_moments_change_nothing(tiny, tmp_path, kind):
    settings = (*KINDS[kind], *HALVES.get(kind, ()))
    assert child(tmp_path / "whole", "fast", settings).wait() == 0
    moments = random.Random(68)
    folder = tmp_path / "killed"
    places = []
    while len(places) < 10:
        process = child(folder, "slow", settings)
        assert process.stdout.readline() == "alive\n"
        # By its progress, so that a slow machine kills it all along the run too.
        for _ in range(moments.randrange(16)):
            process.stdout.readline()
        time.sleep(moments.uniform(0, 0.1))
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL, "it ended before it was killed"
        saved = folder / "checkpoints"
        places.append(sorted(p.name for p in saved.iterdir()) if saved.exists() else [])
    assert child(folder, "fast", settings).wait() == 0
    print(json.dumps(places))
    assert len({tuple(p) for p in places}) > 3
    assert tiny.outcome(folder) == tiny.outcome(tmp_path / "whole")
