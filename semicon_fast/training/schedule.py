"""Learning-rate schedules: pure functions of the step, so that resuming needs no state."""

import math
from typing import NamedTuple

from .config import ScheduleConfig

# The defaults of torch.optim.lr_scheduler.OneCycleLR: lr / 25 at the start, lr / 250,000 at the
# end; momentum (or Adam's first beta) from 0.95 down to 0.85 and up again.
ONE_CYCLE_START = 25.0
ONE_CYCLE_END = 1e4
ONE_CYCLE_MOMENTUM = (0.95, 0.85)
# The last rate of "cosine" as a multiple of the first, as CRH trained.
COSINE_END = 1e-3


class Rates(NamedTuple):
    """lr as a multiple of the configured one; momentum is None if it is not scheduled."""

    lr: float
    momentum: float | None


def scheduled_rates(schedule: ScheduleConfig, iteration: int, step: int, steps: int) -> Rates:
    """Learning rate and momentum at outer iteration `iteration` and step `step` of `steps` (both
    counted from 0)."""
    if schedule.lr == "constant":
        return Rates(1.0, None)
    if schedule.lr == "step":
        passed = sum(milestone <= iteration for milestone in schedule.milestones)
        return Rates(schedule.factor**passed, None)
    if schedule.lr == "cosine":
        return Rates(_cosine(1.0, COSINE_END, step / max(1, steps - 1)), None)
    high, low = ONE_CYCLE_MOMENTUM
    start, end = 1 / ONE_CYCLE_START, 1 / ONE_CYCLE_START / ONE_CYCLE_END
    top = schedule.rise * steps - 1
    if step <= top:
        share = step / top if top > 0 else 1.0
        return Rates(_cosine(start, 1.0, share), _cosine(high, low, share))
    share = min(1.0, (step - top) / max(steps - 1 - top, 1e-9))
    return Rates(_cosine(1.0, end, share), _cosine(low, high, share))


def _cosine(first: float, last: float, share: float) -> float:
    return last + (first - last) / 2 * (1 + math.cos(math.pi * share))
