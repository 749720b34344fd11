"""A data set and a configuration so small that a whole run takes a fraction of a second."""

import json
from types import SimpleNamespace

import pytest
import torch

from semicon_fast.data import HashingData, ImageSet
from semicon_fast.data.image_set import Memory
from semicon_fast.training import Config, Reporter, Stop

CLASSES, PER_CLASS, SIDE = 3, 10, 8


def image_set(name, per_class, seed, multi_label=False):
    """Noise with one bright channel a class."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(CLASSES).repeat_interleave(per_class)
    shape = (len(labels), 3, SIDE, SIDE)
    pixels = torch.randint(0, 120, shape, generator=generator, dtype=torch.uint8)
    pixels[torch.arange(len(labels)), labels] += 120
    names = [f"{name} {i}" for i in range(len(labels))]
    if multi_label:
        labels = torch.nn.functional.one_hot(labels, CLASSES).bool()
        labels[::4, 0] = True
    return ImageSet(name, Memory(pixels, names, None), labels, ("red", "green", "blue"))


def make_data(multi_label=False):
    train = image_set("train", PER_CLASS, 1, multi_label)
    query = image_set("query", 4, 2, multi_label)
    return HashingData(
        name="tiny",
        train=train,
        query=query,
        database=train,
        protocol=f"tiny: {len(query)} queries against the {len(train)} training images.",
        train_rows=torch.arange(len(train)),
    )


def make_config(*settings):
    config = Config.model_validate(
        {
            "data": {"name": "tiny", "image_size": SIDE, "transform": "small"},
            "model": {"network": "small", "code_length": 8, "options": {"width": 4}},
            "method": {"name": "semicon"},
            "optimizer": {"lr": 0.01, "momentum": 0.9, "nesterov": True, "weight_decay": 1e-4},
            "schedule": {"iterations": 3, "epochs": 2, "samples": 20, "batch_size": 8},
            "selection": {"batch_size": 16},
            "run": {"threads": 1, "device": "cpu"},
        }
    )
    return config.override(settings)


class StopAfter(Stop):
    """Asks for a stop at the n-th safe place."""

    def __init__(self, places):
        super().__init__()
        self.places = places

    def check(self):
        self.places -= 1
        self.requested = self.places < 0
        super().check()


class Crash(Exception):
    pass


class CrashAtRecord(Reporter):
    """Dies like a process: at the n-th line of the log, with nothing saved on the way out."""

    def __init__(self, lines):
        self.lines = lines

    def record(self, record):
        self.lines -= 1
        if self.lines < 0:
            raise Crash


class Notes(Reporter):
    def __init__(self):
        self.notices, self.warnings, self.records = [], [], []

    def notice(self, text):
        self.notices.append(text)

    def warning(self, text):
        self.warnings.append(text)

    def record(self, record):
        self.records.append(record)


def log_of(folder):
    """The log without its times."""
    lines = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    for line in lines:
        line.pop("seconds")
    return lines


def outcome(folder):
    """Everything that a stopped and resumed run must share with an uninterrupted one."""
    last = sorted(path for path in (folder / "checkpoints").iterdir() if path.name[0] != ".")[-1]
    files = {
        name: (folder / name).read_bytes()
        for name in ("model.safetensors", "codes.safetensors")
        if (folder / name).exists()
    }
    state = json.loads((last / "state.json").read_text())
    state.pop("seconds")
    # Which commands led here differs, and is meant to.
    state.pop("commands")
    return {
        "tensors": (last / "tensors.safetensors").read_bytes(),
        "files": files,
        "state": state,
        "log": log_of(folder),
    }


@pytest.fixture(scope="session")
def tiny():
    return SimpleNamespace(
        data=make_data,
        config=make_config,
        StopAfter=StopAfter,
        CrashAtRecord=CrashAtRecord,
        Crash=Crash,
        Notes=Notes,
        log_of=log_of,
        outcome=outcome,
    )
