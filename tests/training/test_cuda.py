"""Training on a CUDA device runs, in both precisions, and gives codes that the CPU can search."""

import pytest
import torch

from semicon_fast.training import Trainer, evaluate_run, preset

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
]


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_the_demo_learns_on_the_device(tmp_path, precision):
    config = preset("birdlets-48").override([f"run.precision={precision}", "run.device=cuda"])
    result = Trainer(config, output=tmp_path / "run").fit()
    for figures in result.evaluation.values():
        assert figures["mAP"] > 0.8
    again = evaluate_run(tmp_path / "run")["evaluation"]
    assert again.keys() == result.evaluation.keys()


def test_a_compiled_network_learns_as_well(tmp_path):
    config = preset("birdlets-48").override(["run.compile=true", "run.device=cuda"])
    result = Trainer(config, output=tmp_path / "run").fit()
    assert all(figures["mAP"] > 0.8 for figures in result.evaluation.values())


@pytest.mark.parametrize(
    "settings",
    [
        ["model.network=exchnet", "method.name=exchnet", 'method.options={"align": 2}'],
        ["method.name=shc", 'method.options={"classify": 2}'],
    ],
    ids=["exchnet", "shc"],
)
def test_methods_with_passes_and_stages_run_on_the_device(tmp_path, settings):
    small = ["schedule.iterations=4", "run.device=cuda", 'model.options={"backbone": "tiny"}']
    config = preset("birdlets-48").override([*settings, *small])
    result = Trainer(config, output=tmp_path / "run").fit()
    again = evaluate_run(tmp_path / "run")["evaluation"]
    assert again.keys() == result.evaluation.keys()
    for way, figures in result.evaluation.items():
        # 16 classes: 1 / 16 is chance.
        assert figures["mAP"] == pytest.approx(again[way]["mAP"], abs=1e-3) and figures["mAP"] > 0.1
