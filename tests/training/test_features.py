"""Features of a run's images: those of its network, in order, on the unit sphere."""

import pytest
import torch

from semicon_fast import models
from semicon_fast.training import Trainer, run_features
from semicon_fast.training.evaluation import transform_of
from semicon_fast.training.features import feature_set

DSH = (
    "method.name=dsh", "model.network=dsh", 'model.options={"image_size":8}',
    "optimizer.lr=0.001", "schedule.iterations=1", "schedule.epochs=1",
)  # fmt: skip


@pytest.fixture(scope="module")
def run(tiny, tmp_path_factory):
    folder = tmp_path_factory.mktemp("features") / "run"
    Trainer(tiny.config(*DSH), tiny.data(), output=folder).fit()
    return folder


def test_they_are_the_activations_of_the_first_linear_layer_normalised(tiny, run):
    data = tiny.data()
    found, plain = (run_features(run, data=data, normalise=n) for n in (True, False))
    model = models.load(run / "model.safetensors")
    transform = transform_of(tiny.config(*DSH).data, train=False)
    pixels = transform.normalised(data.query.images(torch.arange(len(data.query))))
    kept = []
    model.fc.register_forward_hook(lambda *given: kept.append(given[2].relu()))
    with torch.no_grad():
        model(pixels)
    torch.testing.assert_close(plain.queries, kept[0])
    torch.testing.assert_close(found.queries, kept[0] / kept[0].norm(dim=1, keepdim=True))
    assert plain.queries.shape == (12, 500) and plain.database.shape == (30, 500)
    torch.testing.assert_close(found.database.norm(dim=1), torch.ones(30))
    assert found.train is found.database and found.data is data


def test_batches_change_nothing_and_the_mode_is_left_alone(tiny, run):
    model = models.load(run / "model.safetensors").train()
    transform = transform_of(tiny.config(*DSH).data, train=False)
    done = []
    whole = feature_set(model, tiny.data().query, transform)
    parts = feature_set(model, tiny.data().query, transform, batch_size=5, progress=done.append)
    torch.testing.assert_close(whole, parts)
    assert done == [1, 2, 3] and model.training and not whole.requires_grad


def test_a_folder_without_a_run_is_refused(tmp_path):
    with pytest.raises(ValueError, match="no finished run"):
        run_features(tmp_path)
