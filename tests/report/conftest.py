"""A tiny trained run whose class names are hostile to HTML, for pages and commands."""

import numpy as np
import pytest
from PIL import Image

from semicon_fast.training import Config, Trainer, encoded_run, evaluate_encoded

NASTY = '<img src=x onerror="alert(1)"> & "quotes"'
COLOURS = {"blue": (30, 30, 200), NASTY: (200, 30, 30)}


def painted(folder):
    """train/ and test/ with two classes of noisy colour."""
    rng = np.random.default_rng(0)
    for part, count in (("train", 8), ("test", 3)):
        for name, colour in COLOURS.items():
            place = folder / part / name.replace("/", "")
            place.mkdir(parents=True)
            for i in range(count):
                noise = rng.integers(-25, 25, (24, 24, 3))
                pixels = (np.array(colour) + noise).clip(0, 255).astype(np.uint8)
                Image.fromarray(pixels).save(place / f"{i} <b>.png")
    return folder


def configuration(root, bits=12):
    """SEMICON on the narrow network, two iterations."""
    return Config.model_validate(
        {
            "data": {"name": "folder", "root": str(root), "image_size": 32, "transform": "plain"},
            "model": {
                "network": "semicon",
                "code_length": bits,
                "options": {"backbone": "tiny", "parts": 2},
            },
            "method": {"name": "semicon"},
            "optimizer": {"name": "adamw", "lr": 1e-3},
            "schedule": {"iterations": 2, "epochs": 1, "batch_size": 8},
            "run": {"threads": 1},
        }
    )


@pytest.fixture(scope="session")
def trained(tmp_path_factory):
    """The folder of a finished run."""
    folder = tmp_path_factory.mktemp("report")
    root = painted(folder / "photos")
    Trainer(configuration(root), output=folder / "run").fit()
    return folder / "run"


@pytest.fixture(scope="session")
def run(trained):
    return encoded_run(trained)


@pytest.fixture(scope="session")
def evaluation(run):
    return evaluate_encoded(run)["evaluation"]
