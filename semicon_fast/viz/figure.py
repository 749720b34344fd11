"""A figure with its table, how both are written, and what all figures look like."""

import csv
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import matplotlib as mpl
import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

from ..files import atomic_write
from .formats import FORMATS, format_of

# Okabe and Ito's palette: told apart by colour-blind readers. Lines differ in style and marker too,
# so that they survive a black-and-white print.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
STYLES = ("solid", "dashed", "dotted", "dashdot")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
# What saving depends on beside the figure: text stays text, and equal figures give equal files.
_RC: Any = {"svg.fonttype": "none", "svg.hashsalt": "semicon_fast", "pdf.fonttype": 42}
_DATES: Any = {"png": {}, "svg": {"Date": None}, "pdf": {"CreationDate": None}}


@dataclass
class Table:
    """Rows of plain values under named columns."""

    columns: Sequence[str]
    rows: list[Sequence[Any]] = field(default_factory=list)

    def write(self, path: str | os.PathLike[str]) -> Path:
        """As CSV, whole or not at all."""
        with atomic_write(path, "w") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(self.columns)
            writer.writerows([_plain(value) for value in row] for row in self.rows)
        return Path(path)


def _plain(value: Any) -> Any:
    return f"{value:.6g}" if isinstance(value, float) else value


class Picture(Figure):
    """A figure and the numbers it shows."""

    def __init__(self, width: float, height: float, table: Table) -> None:
        super().__init__(figsize=(width, height))
        self.table = table


def write_figure(figure: Figure, file: IO[bytes], kind: str) -> None:
    """The figure into an open file; kind: one of `FORMATS`."""
    with mpl.rc_context(_RC):
        figure.savefig(file, format=kind, dpi=150, bbox_inches="tight", metadata=_DATES[kind])


def save_figure(figure: Figure, path: str | os.PathLike[str]) -> Path:
    """Writes PNG, SVG or PDF by the suffix of `path`, whole or not at all."""
    target, kind = Path(path), format_of(path)
    with atomic_write(target) as file:
        write_figure(figure, file, kind)
    return target


def save_picture(
    picture: Picture, folder: str | os.PathLike[str], name: str, formats: Sequence[str] = ("png",)
) -> list[Path]:
    """Writes `name` in each format and its table, `name`.csv, into the folder; their paths."""
    if unknown := [kind for kind in formats if kind not in FORMATS]:
        raise ValueError(f"formats must be among {', '.join(FORMATS)}, got {unknown[0]!r}")
    written = [save_figure(picture, Path(folder) / f"{name}.{kind}") for kind in formats]
    return [*written, picture.table.write(Path(folder) / f"{name}.csv")]


def pixels(image: Tensor) -> np.ndarray:
    """uint8 (3, H, W) -> (H, W, 3) for Matplotlib."""
    if image.dtype != torch.uint8 or image.ndim != 3 or image.shape[0] != 3:
        raise ValueError(
            f"images must be uint8 (3, H, W), got {image.dtype} of shape {tuple(image.shape)}"
        )
    return image.permute(1, 2, 0).numpy()


def short(name: str, longest: int = 17) -> str:
    """A title no wider than its picture: both ends of a long name."""
    half = longest // 2
    return name if len(name) <= longest else f"{name[:half]}…{name[-half:]}"


def line_style(number: int) -> dict[str, Any]:
    """Colour, line style and marker of a figure's line of this number."""
    return {
        "color": COLOURS[number % len(COLOURS)],
        "linestyle": STYLES[number % len(STYLES)],
        "marker": MARKERS[number % len(MARKERS)],
        "markersize": 4,
    }
