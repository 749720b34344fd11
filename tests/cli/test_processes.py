"""The commands under torchrun: the words and files of one process."""

import json
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from semicon_fast.cli import app

SETTINGS = {
    "data.options.classes": 4,
    "data.options.train_per_class": 8,
    "data.options.query_per_class": 3,
    "data.image_size": 32,
    "schedule.iterations": 2,
    "schedule.epochs": 1,
    "schedule.batch_size": 8,
    "model.network": "small",
    "model.options": "{}",
    "model.code_length": 16,
    "selection.batch_size": 5,
    "run.batch_norm": "global",
    "optimizer.name": "sgd",
}
TRAIN = ["train", "--preset", "birdlets-48"]
for setting in SETTINGS.items():
    TRAIN += ["--set", "{}={}".format(*setting)]


def alone(*arguments):
    result = CliRunner().invoke(app, list(map(str, arguments)))
    assert result.exit_code == 0, result.output
    return result.stdout


def finished(run):
    output, errors = run.communicate(timeout=400)
    assert run.returncode == 0, errors[-3000:]
    return output, errors


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_train_and_evaluate_say_what_one_process_says(torchrun, tmp_path):
    # Without "--" torchrun takes --run for an option of its own.
    command = ("-m", "--", "semicon_fast")
    one = json.loads(alone(*TRAIN, "-o", tmp_path / "one", "--json"))
    output, errors = finished(torchrun(2, *command, *TRAIN, "-o", tmp_path / "two", "--json"))
    two = json.loads(output)
    assert errors.count("iteration 2, epoch 1: loss") == 1
    assert two["evaluation"] == one["evaluation"] and two["command"].endswith("(2 processes)")
    codes = [(tmp_path / run / "codes.safetensors").read_bytes() for run in ("one", "two")]
    assert codes[0] == codes[1]
    evaluate = ("evaluate", "--run", tmp_path / "two", "--json")
    output, _ = finished(torchrun(2, *command, *evaluate))
    assert json.loads(output) == json.loads(alone(*evaluate))


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_installed_script_says_an_error_once(torchrun, tmp_path):
    script = Path(sys.executable).with_name("semicon-fast")
    if not script.exists():
        pytest.skip("semicon-fast is not installed beside this Python")
    run = torchrun(2, script, *TRAIN, "-o", tmp_path / "run", "--set", "schedule.batch_size=1")
    output, errors = run.communicate(timeout=400)
    sentence = "schedule.batch_size must be at least the number of processes, 2, got 1"
    assert run.returncode != 0 and (output + errors).count(sentence) == 1
    assert not (tmp_path / "run").exists()
