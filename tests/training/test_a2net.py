"""A2-Net in the training loop: when it fine-tunes, and what it refuses."""

import pytest

from semicon_fast.training import Trainer
from semicon_fast.training.sides import ASYMMETRIC, SYMMETRIC

SETTINGS = (
    "method.name=a2net",
    "model.network=a2net",
    'model.options={"backbone":"micro","parts":2}',
    "data.image_size=16",
)


def test_the_second_half_is_fine_tuning_and_codes_are_learned(tiny, tmp_path):
    result = Trainer(tiny.config(*SETTINGS), tiny.data(), output=tmp_path).fit()
    losses = [line["loss"] for line in tiny.log_of(tmp_path) if line["event"] == "epoch"]
    for term in ("reconstruction", "decorrelation"):
        assert [loss[term] > 0 for loss in losses] == [False] * 2 + [True] * 4
    assert list(result.evaluation) == [ASYMMETRIC, SYMMETRIC]


def test_in_bf16_and_with_several_labels_it_trains_too(tiny, tmp_path):
    settings = (*SETTINGS, "run.precision=bf16", "schedule.epochs=1", "selection.mode=last")
    Trainer(tiny.config(*settings), tiny.data(multi_label=True), output=tmp_path).fit()
    assert (tmp_path / "codes.safetensors").exists()


@pytest.mark.parametrize(
    "setting, sentence",
    [
        ('method.options={"finetune":3}', "finetune=3 and schedule.iterations=3"),
        ("model.network=exchnet", "set model.network=a2net; network 'exchnet' decodes no"),
    ],
)
def test_wrong_settings_are_one_sentence_before_anything_is_written(
    tiny, tmp_path, setting, sentence
):
    with pytest.raises(ValueError, match=sentence):
        Trainer(tiny.config(*SETTINGS, setting), tiny.data(), output=tmp_path / "run").fit()
    assert not (tmp_path / "run").exists()
