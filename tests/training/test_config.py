"""Configurations: JSON and back, single settings, sentences for mistakes."""

import os

import pytest

from semicon_fast.training import Config, preset


@pytest.mark.parametrize(
    "name", ["cub-48", "cifar10-dsh-paper-12", "adsh-vegfru-24", "birdlets-48"]
)
def test_json_and_back_is_the_same_configuration(name):
    config = preset(name)
    assert Config.model_validate_json(config.model_dump_json()) == config


@pytest.mark.parametrize(
    "setting, section, key, value",
    [
        ("schedule.iterations=3", "schedule", "iterations", 3),
        ("optimizer.lr=1e-3", "optimizer", "lr", 0.001),
        ("schedule.samples=null", "schedule", "samples", None),
        ("schedule.samples=none", "schedule", "samples", None),
        ("schedule.milestones=[2,5]", "schedule", "milestones", (2, 5)),
        ("data.root=12", "data", "root", "12"),
        ("data.root=/some/place", "data", "root", "/some/place"),
        ("run.channels_last=true", "run", "channels_last", True),
        ("run.channels_last=False", "run", "channels_last", False),
        ("data.mean=[0.1,0.2,0.3]", "data", "mean", (0.1, 0.2, 0.3)),
        ("method.options.gamma=100", "method", "options", {"gamma": 100}),
    ],
)
def test_a_setting_changes_one_value_and_nothing_else(setting, section, key, value):
    before = preset("cub-48")
    after = before.override([setting])
    assert getattr(getattr(after, section), key) == value
    changed = getattr(after, section).model_copy(
        update={key: getattr(getattr(before, section), key)}
    )
    assert after.model_copy(update={section: changed}) == before


def test_settings_apply_in_order():
    config = preset("cub-48").override(["run.seed=1", "run.seed=2"])
    assert config.run.seed == 2


@pytest.mark.parametrize(
    "setting, sentence",
    [
        ("schedule.iteration=3", "did you mean schedule.iterations"),
        ("schedul.iterations=3", "did you mean schedule"),
        ("schedule.iterations.more=3", "unknown setting schedule.iterations.more"),
        ("schedule=3", "schedule is a section"),
        ("schedule.iterations", "section.key=value"),
        ("schedule.iterations=0", "schedule.iterations: .*got 0"),
        ("schedule.iterations=many", "schedule.iterations: .*got 'many'"),
        ("optimizer.lr=NaN", "optimizer.lr"),
        ("optimizer.name=lion", "sgd"),
        ("selection.mode=best", "holdout"),
        ("schedule.milestones=[5,2]", "ascending"),
        ("model.code_length=5000", "code_length"),
    ],
)
def test_a_mistake_is_one_sentence_that_names_the_key(setting, sentence):
    with pytest.raises(ValueError, match=sentence) as caught:
        preset("cub-48").override([setting])
    assert "\n" not in str(caught.value)


def test_unknown_and_missing_keys_of_a_file_are_named():
    text = preset("cub-48").model_dump_json().replace('"epochs"', '"epoch"')
    with pytest.raises(ValueError, match="schedule.epoch is not a setting"):
        Config.model_validate_json(text)
    with pytest.raises(ValueError, match="model is missing"):
        Config.model_validate_json('{"data": {"name": "cub"}}')


def test_paths_that_are_not_utf8_survive_json_and_settings():
    root = os.fsdecode(b"/data/K\xf6nig [old]")
    config = preset("folder-12").override([f"data.root={root}", "model.start=w.safetensors"])
    assert config.data.root == root
    text = config.model_dump_json(indent=1)
    assert text.isascii() and Config.model_validate_json(text) == config


def test_what_is_not_json_is_said():
    for text in ('{"data": ', b"\xff\xfe{"):
        with pytest.raises(ValueError, match="the configuration is not JSON"):
            Config.model_validate_json(text)
