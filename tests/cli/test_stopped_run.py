"""A run that was stopped before its end, through the commands."""

import json

import numpy as np
import pytest
import torch
from PIL import Image
from rich.console import Console
from safetensors.torch import load_file
from typer.testing import CliRunner

from semicon_fast import models
from semicon_fast.cli import app
from semicon_fast.cli.encode import checkpoint_file
from semicon_fast.codes import pack_codes
from semicon_fast.data.decode import decode
from semicon_fast.training import Interrupted, Stop, Trainer, presets
from semicon_fast.training.evaluation import transform_of

COLOURS = {"red": (200, 30, 30), "blue": (30, 30, 200)}


class StopAfter(Stop):
    def __init__(self, places):
        super().__init__()
        self.places = places

    def check(self):
        self.places -= 1
        self.requested = self.places < 0
        super().check()


def said(*arguments, code=0):
    result = CliRunner().invoke(app, [str(a) for a in arguments])
    assert result.exit_code == code, result.output + result.stderr
    return result.stdout if code == 0 else result.stderr


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    folder, rng = tmp_path_factory.mktemp("photos"), np.random.default_rng(0)
    for part, count in (("train", 8), ("test", 3)):
        for name, colour in COLOURS.items():
            (folder / part / name).mkdir(parents=True)
            for i in range(count):
                pixels = np.array(colour) + rng.integers(-25, 25, (16, 16, 3))
                image = Image.fromarray(pixels.clip(0, 255).astype(np.uint8))
                image.save(folder / part / name / f"{i}.png")
    return folder


def stopped(photos, folder, places):
    config = presets.preset("cifar10-dsh-quick-12").override(
        [
            "data.name=folder", f"data.root={photos}", "data.options={}", "model.network=small",
            'model.options={"width": 4}', "schedule.iterations=4", "schedule.batch_size=8",
            "selection.mode=holdout", "run.threads=1", "run.device=cpu",
        ]
    )  # fmt: skip
    with pytest.raises(Interrupted):
        Trainer(config, output=folder, stop=StopAfter(places)).fit()
    return config


@pytest.fixture(scope="module")
def run(photos, tmp_path_factory):
    """Its configuration and folder."""
    folder = tmp_path_factory.mktemp("runs") / "run"
    return stopped(photos, folder, 12), folder


def test_every_command_says_what_can_be_done_with_it(run, photos, tmp_path):
    folder, gallery = run[1], tmp_path / "gallery"
    for arguments in (
        ("encode", folder, photos / "test", "-o", gallery),
        ("explain", folder, photos / "test/red/0.png", photos / "test/red/1.png"),
        ("evaluate", "--run", folder),
    ):
        text = said(*arguments, code=2)
        assert text.startswith(f"error: {folder} is not finished (iteration ")
        assert "best model so far (iteration" in text and "--from-checkpoint" in text
        assert f"semicon-fast train --output {folder} --resume" in text
    assert not gallery.exists()


def test_its_best_model_encodes_and_searches(run, photos, tmp_path):
    config, folder = run
    gallery = tmp_path / "gallery"
    text = said("encode", folder, photos / "test", "-o", gallery, "--from-checkpoint")
    about = json.loads((gallery / "gallery.json").read_text())
    record = about["model_record"]
    file = folder / f"best-iteration-{record['iteration']}.safetensors"
    assert about["model"] == str(file.resolve()) and f"{file}: best model so far" in text
    assert record["kept"] == "best so far" and record["iterations"] == 4

    newest = sorted((folder / "checkpoints").iterdir())[-1]
    tensors = load_file(newest / "tensors.safetensors")
    network = models.SmallHashNet(12, width=4).eval()
    network.load_state_dict(
        {n.removeprefix("best/"): t for n, t in tensors.items() if n.startswith("best/")}
    )
    transform = transform_of(config.data, train=False)
    paths = sorted((photos / "test").rglob("*.png"))
    with torch.no_grad():
        outputs = network(transform.normalised(transform.pixels([decode(p) for p in paths])))
    assert np.array_equal(np.load(gallery / "codes.npy"), pack_codes(outputs.codes).numpy())

    found = said("search", gallery, photos / "test/red/0.png", "-k", "1", "--json")
    assert json.loads(found)["queries"][0]["hits"][0]["distance"] == 0


def test_bad_input_is_a_sentence(run, photos, tmp_path):
    rest = (photos / "test", "-o", tmp_path / "gallery", "--from-checkpoint")
    assert "holds no checkpoint" in said("encode", tmp_path, *rest, code=2)
    file = photos / "test/red/0.png"
    assert "needs the folder of a run" in said("encode", file, *rest, code=2)
    assert "no model at" in said("encode", tmp_path, *rest[:-1], code=2)


def test_a_finished_run_has_its_model_taken(tmp_path):
    models.save(models.SmallHashNet(8, width=4), tmp_path / "model.safetensors")
    assert checkpoint_file(tmp_path, Console(quiet=True)) == tmp_path / "model.safetensors"
