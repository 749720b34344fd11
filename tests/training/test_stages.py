"""A method with stages: optimiser, schedule and weights of each, and when models are evaluated."""

import pytest
import torch

from semicon_fast.training import Config, Trainer
from semicon_fast.training.config import differences
from semicon_fast.training.learner import Learner

CLASSIFIER = 'classifier={"optimizer":{"name":"adamw","lr":0.04},"lr":"onecycle"}'
SHC = (
    "method.name=shc",
    'method.options={"classify":2}',
    "schedule.iterations=5",
    "schedule.lr=onecycle",
    CLASSIFIER,
)


@pytest.fixture
def watched(monkeypatch):
    """(optimiser, lr, sum of the first weights) at the start of each step."""
    seen, step = [], Learner._step

    def look(self, batch):
        first = next(self.model.parameters()).detach().clone()
        seen.append((type(self.optimizer).__name__, self._lr, first))
        return step(self, batch)

    monkeypatch.setattr(Learner, "_step", look)
    return seen


def fit(tiny, folder, *settings):
    return Trainer(tiny.config(*SHC, *settings), tiny.data(), output=folder).fit()


def test_each_stage_has_its_optimiser_and_a_whole_cycle(tiny, tmp_path, watched):
    fit(tiny, tmp_path)
    steps = len(watched) // 5
    names = [name for name, _, _ in watched]
    assert names == ["AdamW"] * 2 * steps + ["SGD"] * 3 * steps
    rates = torch.tensor([rate for _, rate, _ in watched], dtype=torch.float64)
    for part, top in ((rates[: 2 * steps], 0.04), (rates[2 * steps :], 0.01)):
        assert float(part.max()) <= top and float(part.max()) > 0.9 * top
        assert float(part[-1]) < 1e-5 * top


@pytest.mark.parametrize("restart", [True, False])
def test_the_second_stage_starts_anew_or_goes_on(tiny, tmp_path, watched, restart):
    options = f'{{"classify":2,"restart":{str(restart).lower()}}}'
    fit(tiny, tmp_path, f"method.options={options}")
    first, second = watched[0][2], watched[2 * len(watched) // 5][2]
    assert torch.equal(first, second) == restart


def test_models_of_the_first_stage_are_not_evaluated_and_codes_are_scored_symmetric(tiny, tmp_path):
    fit(tiny, tmp_path)
    found = [line for line in tiny.log_of(tmp_path) if line["event"] == "evaluation"]
    assert [line["iteration"] for line in found] == [3, 4, 5]
    assert all(line["database codes"].startswith("symmetric") for line in found)


def test_settings_of_a_stage_that_is_not_there_are_refused(tiny, tmp_path):
    for method in ("method.name=semicon", "method.name=shc"):
        config = tiny.config(method, CLASSIFIER)
        with pytest.raises(ValueError, match="classifier has settings of a stage that method"):
            Trainer(config, tiny.data(), output=tmp_path / "run").fit()
        assert not (tmp_path / "run").exists()


def test_a_section_that_is_left_out_differs_from_one_that_is_there(tiny):
    plain, other = tiny.config(), tiny.config(CLASSIFIER)
    assert differences(plain, plain) == [] and plain.classifier is None
    assert differences(plain, other) == ["classifier.optimizer", "classifier.lr"]
    assert Config.model_validate_json(other.model_dump_json()) == other
