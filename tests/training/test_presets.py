"""Presets against the published schedules, and their networks against the library."""

import pytest
import torch

from semicon_fast import methods, models
from semicon_fast.training import preset, presets

# outer iterations, samples, lr, lr in the last iteration
PUBLISHED = {
    "cub": (40, 2000, 2.5e-4, 2.5e-4),
    "aircraft": (40, 2000, 2.5e-4, 2.5e-4),
    "food101": (50, 2000, 2.5e-4, 2.5e-5),
    "nabirds": (50, 4000, 5e-4, 5e-5),
    "vegfru": (50, 4000, 5e-4, 5e-5),
}


@pytest.mark.parametrize("ending", ["", "-official", "-vanilla"])
@pytest.mark.parametrize("name", PUBLISHED)
def test_schedules_are_the_published_ones(name, ending):
    iterations, samples, lr, last = PUBLISHED[name]
    for bits in (24, 32, 48):
        config = preset(f"{name}-{bits}{ending}")
        schedule, optimizer = config.schedule, config.optimizer
        assert (schedule.iterations, schedule.epochs) == (iterations, 30)
        assert (schedule.samples, schedule.batch_size) == (samples, 16)
        assert optimizer.lr == lr and optimizer.nesterov and optimizer.momentum == 0.91
        assert optimizer.weight_decay == 1e-4
        passed = [m for m in schedule.milestones if m <= iterations - 1]
        assert lr * schedule.factor ** len(passed) == pytest.approx(last)
        assert all(m >= iterations - 5 for m in schedule.milestones)
        assert config.model.code_length == bits and config.run.seed == 68


def test_nabirds_at_12_bits_ran_at_half_the_learning_rate():
    assert preset("nabirds-12").optimizer.lr == 2.5e-4
    assert preset("vegfru-12").optimizer.lr == 5e-4


@pytest.mark.parametrize("name", PUBLISHED)
def test_exchnets_rows_are_those_of_its_logs(name):
    config = preset(f"exchnet-{name}-48")
    schedule, optimizer = config.schedule, config.optimizer
    assert (schedule.iterations, schedule.epochs, schedule.batch_size) == (40, 30, 16)
    assert (schedule.samples, schedule.milestones) == (PUBLISHED[name][1], (35,))
    assert (optimizer.lr, optimizer.momentum, optimizer.weight_decay) == (1e-4, 0.9, 1e-4)
    assert config.method.options == {"align": 35} and methods.build("exchnet").gamma == 0
    assert config.model.network == "exchnet" and not optimizer.nesterov


@pytest.mark.parametrize("name", [n for n in presets.names() if n.startswith("exchnet-")])
def test_exchnet_presets_leave_an_iteration_to_exchange_in(name):
    config = preset(name)
    assert config.method.options["align"] < config.schedule.iterations


def test_no_preset_selects_on_the_test_set():
    assert {preset(name).selection.mode for name in presets.names()} == {"holdout", "last"}
    assert preset("cub-12").selection.mode == "holdout"


def test_official_presets_encode_in_batches_of_16_as_the_released_code():
    assert preset("cub-12-official").selection.batch_size == 16
    assert preset("cub-12-official").model.options["variant"] == "official"


def test_dsh_runs_70000_batches_with_drops_after_60000_and_65000():
    schedule = preset("cifar10-dsh-paper-12").schedule
    batches = 50_000 // schedule.batch_size
    assert schedule.iterations * schedule.epochs * batches == 70_000
    assert [m * batches for m in schedule.milestones] == [60_000, 65_000]


def test_fine_tuning_runs_30000_batches_with_drops_every_4000():
    config = preset("cifar10-dsh-finetune-48")
    assert config.schedule.iterations * 250 == 30_000 and config.model.start is not None
    assert [m * 250 for m in config.schedule.milestones[:2]] == [4_000, 8_000]
    assert len(config.schedule.milestones) == 7 and config.schedule.factor == 0.6


@pytest.mark.parametrize("name", presets.names())
def test_every_preset_describes_a_network_and_a_method(name):
    config = preset(name)
    options = {k: v for k, v in config.model.options.items() if k != "weights"}
    with torch.device("meta"):
        network = models.build(
            {"network": config.model.network, "code_length": config.model.code_length, **options}
        )
    assert network.code_length == config.model.code_length
    assert methods.build(config.method.name, **config.method.options).name == config.method.name


@pytest.mark.parametrize(
    "wrong, near",
    [("cub-84", "cub-48"), ("CUB-48", "cub-48"), ("cifar-dsh-quick-12", "cifar10-dsh-quick-12")],
)
def test_an_unknown_preset_gets_the_nearest_names(wrong, near):
    with pytest.raises(ValueError, match=f"preset '{wrong}' does not exist.*{near}"):
        preset(wrong)


def test_shc_ran_by_sgd_and_then_by_rmsprop():
    config = preset("shc-nabirds-64")
    assert config.classifier.optimizer.lr == 5e-3 and config.classifier.optimizer.momentum == 0
    assert (config.optimizer.name, config.optimizer.lr) == ("rmsprop", 1e-5)
    assert config.optimizer.weight_decay == 1e-5 and config.schedule.batch_size == 64
    assert config.selection.every == 3 and config.data.transform == "crop"
    assert preset("shc-imagenet100-16").data.options["database"] == "database.txt"


@pytest.mark.parametrize("name", [name for name in presets.names() if "shc" in name])
def test_every_shc_preset_leaves_most_iterations_to_its_codes(name):
    config = preset(name)
    classify = config.method.options["classify"]
    assert 0 < classify <= config.schedule.iterations / 3 and config.model.options["norm"]


@pytest.mark.parametrize("name", PUBLISHED)
def test_a2nets_rows_are_those_of_its_logs(name):
    for bits in (12, 48):
        config, exchnet = preset(f"a2net-{name}-{bits}"), preset(f"exchnet-{name}-{bits}")
        assert config.schedule == exchnet.schedule and config.optimizer == exchnet.optimizer
        assert config.data == exchnet.data and config.model.options["parts"] == bits
        assert (config.model.network, config.method.name) == ("a2net", "a2net")


@pytest.mark.parametrize("margin", [6, 3, 2, 1])
def test_the_sigmoid_relaxation_has_its_margin_and_no_regulariser(margin):
    for recipe, plain in (("", "-paper"), ("-quick", "-quick")):
        config = preset(f"cifar10-dsh{recipe}-sigmoid-m{margin}-12")
        assert config.method.options == {"margin": margin, "alpha": 0}
        assert config.model.options == {"sigmoid": True}
        assert config.schedule == preset(f"cifar10-dsh{plain}-12").schedule


def test_quick_fine_tuning_takes_the_papers_fraction_of_the_steps_and_of_the_rate():
    pairs = [(preset("cifar10-dsh-paper-12"), preset("cifar10-dsh-finetune-24"))]
    pairs += [(preset("cifar10-dsh-quick-12"), preset("cifar10-dsh-quick-finetune-24"))]
    steps = [tuned.schedule.iterations / whole.schedule.iterations for whole, tuned in pairs]
    assert steps[1] == pytest.approx(steps[0], abs=0.01)
    assert [tuned.optimizer.lr / whole.optimizer.lr for whole, tuned in pairs] == [
        pytest.approx(0.1)
    ] * 2
    for name in ("paper", "quick"):
        start = preset(f"cifar10-dsh-{name}-finetune-36".replace("-paper", "")).model.start
        assert start == f"runs/cifar10-dsh-{name}-12/model.safetensors"


def test_the_classifier_has_an_output_for_each_class():
    for name in ("cifar10-classify", "cifar10-classify-paper"):
        config = preset(name)
        assert (config.model.network, config.model.code_length) == ("dsh", 10)
        assert config.method.name == "classify"
