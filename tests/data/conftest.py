"""Tiny pictures and folders in official layouts."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

Paint = Callable[..., Path]


@pytest.fixture
def paint() -> Paint:
    """paint(path, width=8, height=6, seed=0): a picture of random pixels, by suffix of the path."""

    def write(path: Path, width: int = 8, height: int = 6, seed: int = 0) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(path)
        return path

    return write


@pytest.fixture
def folder(tmp_path: Path, paint: Paint) -> Path:
    """root/{train,test,val}/{ant,bee}: 3, 2 and 1 pictures of each class."""
    root = tmp_path / "insects"
    counts = {"train": 3, "test": 2, "val": 1}
    pictures = [
        root / part / name / f"{i}.png"
        for part, count in counts.items()
        for name in ("ant", "bee")
        for i in range(count)
    ]
    for seed, path in enumerate(pictures):
        paint(path, seed=seed)
    return root
