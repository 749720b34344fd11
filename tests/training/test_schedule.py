"""Learning rates in closed form against torch's schedulers."""

import pytest
import torch

from semicon_fast.training.config import ScheduleConfig
from semicon_fast.training.schedule import scheduled_rates


@pytest.mark.parametrize("steps, rise", [(40, 0.25), (7, 0.3), (1000, 0.25)])
def test_onecycle_is_torchs(steps, rise):
    schedule = ScheduleConfig(iterations=1, batch_size=1, lr="onecycle", rise=rise)
    optimizer = torch.optim.AdamW([torch.zeros(1, requires_grad=True)], lr=1.0)
    other = torch.optim.lr_scheduler.OneCycleLR(optimizer, 1.0, steps, pct_start=rise)
    for step in range(steps):
        now = scheduled_rates(schedule, 0, step, steps)
        assert now.lr == pytest.approx(optimizer.param_groups[0]["lr"], rel=1e-9)
        assert now.momentum == pytest.approx(optimizer.param_groups[0]["betas"][0], rel=1e-9)
        optimizer.step()
        if step + 1 < steps:
            other.step()


@pytest.mark.parametrize("steps", [1, 2, 3, 4])
def test_onecycle_is_finite_in_the_shortest_runs(steps):
    schedule = ScheduleConfig(iterations=1, batch_size=1, lr="onecycle")
    for step in range(steps):
        assert 0 < scheduled_rates(schedule, 0, step, steps).lr <= 1


def test_a_step_drops_from_its_iteration_on():
    schedule = ScheduleConfig(iterations=50, batch_size=1, lr="step", milestones=(10, 45))
    rates = [scheduled_rates(schedule, i, 0, 1).lr for i in range(50)]
    assert rates[:10] == [1.0] * 10
    assert rates[10:45] == pytest.approx([0.1] * 35)
    assert rates[45:] == pytest.approx([0.01] * 5)


def test_constant_is_constant():
    schedule = ScheduleConfig(iterations=5, batch_size=1)
    assert {scheduled_rates(schedule, i, i, 5) for i in range(5)} == {(1.0, None)}


@pytest.mark.parametrize("steps", [2, 300])
def test_cosine_is_torchs_from_1_to_a_thousandth(steps):
    schedule = ScheduleConfig(iterations=1, batch_size=1, lr="cosine")
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    other = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps - 1, eta_min=1e-3)
    for step in range(steps):
        now = scheduled_rates(schedule, 0, step, steps)
        assert now.lr == pytest.approx(optimizer.param_groups[0]["lr"], rel=1e-9)
        assert now.momentum is None
        optimizer.step()
        other.step()
    assert scheduled_rates(schedule, 0, 0, 1).lr == 1
