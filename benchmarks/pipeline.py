"""How many images per second does each stage of training and encoding process?

    python benchmarks/pipeline.py                       # CPU, half an hour
    python benchmarks/pipeline.py --quick               # small: does everything run?
    python benchmarks/pipeline.py --csv benchmarks/results/pipeline.csv
    python benchmarks/pipeline.py --device cuda         # batches 16 and 128, bf16, compiled
    python benchmarks/pipeline.py --profile --only "training step"   # what limits a stage

Compared with the released code, which `pipeline_released.py` reimplements from its description;
codes and losses are compared before anything is timed. The engines run alternately in several
rounds; rates are medians, and ratios are medians of the ratios in each round.
"""

import argparse
import os
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from math import inf
from pathlib import Path
from statistics import median
from typing import Any

import torch
from harness import Cases, command, environment, markdown_table
from pipeline_cases import PASSES, STAGES, Engine, Setting
from torch.profiler import ProfilerActivity, profile

KEY = ("stage", "engine", "batch", "precision", "compiled", "device", "threads")
SHOWN = ("stage", "engine", "batch", "precision", "images_per_s", "over_released", "share_of_bare")


def arguments(given: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a small network, one round")
    parser.add_argument("--only", default="", help="stages whose name contains this text")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--images", type=int, help="images of a stage")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--profile", action="store_true", help="tables of operators, no timing")
    parser.add_argument("--seconds", type=float, default=inf, help="begin no case after this time")
    parser.add_argument("--csv", type=Path, help="add each case's rows to this file")
    return parser.parse_args(given)


def settings(options: argparse.Namespace, folder: Path) -> Iterator[Setting]:
    """One setting for the CPU; for CUDA the published batch size and a large one."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    base = Setting(folder, options.device, options.images or 64, cores=min(cores or 1, 16))
    if options.quick:
        base = replace(
            base, images=options.images or 4, size=32, backbone="tiny", batch=4, passes=2
        )
        yield replace(base, cores=1)
    elif not base.cuda:
        yield replace(base, repeats=4)
    else:
        base = replace(base, images=options.images or 1024, epochs=30, repeats=16, passes=8)
        for batch in (16, 128):
            yield replace(base, batch=batch, precision="bf16", compiled=True)
            yield replace(base, batch=batch, precision="fp32")


def timed(engine: Engine, device: str) -> float:
    """Images per second."""
    _wait(device)
    start = time.perf_counter()
    images = engine()
    _wait(device)
    return images / (time.perf_counter() - start)


def _wait(device: str) -> None:
    if device.startswith("cuda"):
        torch.cuda.synchronize()


def measure(stage: str, setting: Setting, options: argparse.Namespace) -> list[dict[str, Any]]:
    engines = STAGES[stage](setting)
    rates: dict[str, list[float]] = {name: [] for name in engines}
    # The first round is a warm-up, which long outer iterations do not need.
    warm = 0 if stage == "outer iteration" or options.quick else 1
    # On CUDA an outer iteration is all 30 epochs of the schedule, so one round is enough.
    rounds = 1 if stage == "outer iteration" and setting.cuda else options.rounds
    for _ in range(warm + rounds):
        for name, engine in engines.items():
            rates[name].append(timed(engine, setting.device))
    rates = {name: found[warm:] for name, found in rates.items()}

    def over(name: str, other: str) -> float:
        pairs = zip(rates[name], rates.get(other, []), strict=False)
        return median([a / b for a, b in pairs] or [float("nan")])

    return [
        {
            "stage": stage,
            "engine": name,
            "batch": setting.batch if name == "semicon_fast" else min(16, setting.batch),
            "precision": setting.precision if name == "semicon_fast" else "fp32",
            "compiled": setting.compiled and name == "semicon_fast",
            "images_per_s": median(rates[name]),
            "over_released": over(name, "released"),
            "share_of_bare": over(name, "bare decode"),
            "full_schedule_minutes": PASSES / median(rates[name]) / 60
            if stage == "outer iteration" and setting.epochs > 1
            else float("nan"),
            "backbone": setting.backbone,
            "pixels": setting.size,
            "threads": options.threads,
            "decoders": setting.cores,
            **environment(setting.device),
            "command": command(),
        }
        for name in engines
    ]


def show_profile(stage: str, setting: Setting) -> list[dict[str, Any]]:
    """Print the operators of each engine by self time, on the device if there is one; no rows."""
    kinds = [ProfilerActivity.CPU, *[ProfilerActivity.CUDA] * setting.cuda]
    by = "self_device_time_total" if setting.cuda else "self_cpu_time_total"
    for name, engine in STAGES[stage](setting).items():
        engine()
        with profile(activities=kinds) as seen:
            engine()
            _wait(setting.device)
        print(f"\n{stage}, {name}, batch {setting.batch}, {setting.precision}")
        print(seen.key_averages().table(sort_by=by, row_limit=15, max_name_column_width=50))
    return []


def main() -> None:
    options = arguments()
    torch.set_num_threads(options.threads)
    # No TF32: float32 is full precision for all engines.
    torch.backends.cudnn.allow_tf32 = False
    options.rounds = 1 if options.quick else options.rounds
    if options.device.startswith("cuda"):
        torch.cuda.set_device(torch.device(options.device).index or 0)
    cases = Cases(options.csv, KEY, options.seconds)
    with tempfile.TemporaryDirectory() as folder:
        for setting in settings(options, Path(folder)):
            for stage in (stage for stage in STAGES if options.only in stage):
                name = f"{stage}, batch {setting.batch}, {setting.precision}"
                if stage == "outer iteration" and setting.cuda and not setting.compiled:
                    continue
                if options.profile:
                    # An outer iteration consists of the other stages, repeated.
                    if stage != "outer iteration":
                        cases.measure(name, partial(show_profile, stage, setting))
                    continue
                rows = cases.measure(name, partial(measure, stage, setting, options))
                if rows:
                    body = [[_text(row[c]) for c in SHOWN] for row in rows]
                    print(f"\n{markdown_table(list(SHOWN), body)}", flush=True)
    cases.end()


def _text(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


if __name__ == "__main__":
    main()
