"""ExchNet in the training loop: when it exchanges, which images its anchors see, wrong settings."""

import pytest
import torch

from semicon_fast.methods import ExchNetObjective
from semicon_fast.training import Trainer
from semicon_fast.training.sampler import hold_out

SETTINGS = (
    "method.name=exchnet",
    'method.options={"align":2}',
    "model.network=exchnet",
    'model.options={"backbone":"micro","parts":2}',
    "data.image_size=16",
)


def test_anchors_are_of_the_images_that_are_not_held_out(tiny, tmp_path, monkeypatch):
    passes = []
    original = ExchNetObjective.take_features

    def recorded(self, batches):
        found = list(batches)
        passes.append((torch.cat([rows for _, rows in found]), self.exchanging))
        assert not any(output.codes.requires_grad for output, _ in found)
        original(self, found)

    monkeypatch.setattr(ExchNetObjective, "take_features", recorded)
    trainer = Trainer(tiny.config(*SETTINGS), tiny.data(), output=tmp_path)
    trainer.fit()
    assert len(passes) == 1 and not passes[0][1]
    assert torch.equal(passes[0][0], trainer.selection.kept) and len(trainer.selection.held) == 3
    method = trainer.learner.method
    assert method.anchor_images.tolist() == [9, 9, 9] and bool(method.anchors.any())
    losses = [line["loss"] for line in tiny.log_of(tmp_path) if line["event"] == "epoch"]
    assert [loss["alignment"] > 0 for loss in losses] == [False] * 4 + [True] * 2
    assert all(set(loss) == set(losses[0]) for loss in losses)


def test_in_bf16_and_channels_last_it_trains_too(tiny, tmp_path):
    settings = ("run.precision=bf16", "run.channels_last=true", "schedule.epochs=1")
    result = Trainer(tiny.config(*SETTINGS, *settings), tiny.data(), output=tmp_path).fit()
    assert set(result.evaluation) == {
        "asymmetric (learned database codes)",
        "symmetric (encoded database)",
    }


def test_images_with_several_labels_train_too(tiny, tmp_path):
    config = tiny.config(*SETTINGS, "selection.mode=last", "schedule.epochs=1")
    Trainer(config, tiny.data(multi_label=True), output=tmp_path).fit()
    assert (tmp_path / "codes.safetensors").exists()


@pytest.mark.parametrize(
    "setting, sentence",
    [
        ('method.options={"align":3}', "align=3 and schedule.iterations=3"),
        ("method.options={}", "align=35 and schedule.iterations=3"),
        ("model.code_length=1", "code_length must be at least 2, got 1"),
        ("model.options={} model.network=small", "set model.network=exchnet; network 'small'"),
    ],
)
def test_wrong_settings_are_one_sentence_before_anything_is_written(
    tiny, tmp_path, setting, sentence
):
    with pytest.raises(ValueError, match=sentence):
        Trainer(
            tiny.config(*SETTINGS, *setting.split()), tiny.data(), output=tmp_path / "run"
        ).fit()
    assert not (tmp_path / "run").exists()


def test_a_class_that_is_held_out_as_a_whole_is_refused(tiny, tmp_path):
    """Images with several labels are held out without regard to their classes."""
    config = tiny.config(*SETTINGS)
    data = tiny.data(multi_label=True)
    data.train.labels[:] = torch.tensor([True, False, False])
    held = hold_out(data.train.labels, config.selection.fraction, config.run.seed).held
    data.train.labels[held[0]] = torch.tensor([False, True, False])
    with pytest.raises(ValueError, match="1 of 2 classes.*no image left to compute anchors"):
        Trainer(config, data, output=tmp_path / "run").fit()
    assert not (tmp_path / "run").exists()
