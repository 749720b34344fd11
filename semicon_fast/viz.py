"""Pictures of what a network retrieves, drawn with Matplotlib and readable in print."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from .files import atomic_write

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Blue and vermilion of Okabe and Ito's palette: told apart by colour-blind readers; the frames
# differ in line style too, so that they survive a black-and-white print.
RIGHT, WRONG, QUERY = "#0072B2", "#D55E00", "#000000"


def save_figure(figure: "Figure", path: str | os.PathLike[str]) -> Path:
    """Writes PNG, SVG or PDF by the suffix of `path`, whole or not at all."""
    target = Path(path)
    kind = target.suffix.lower().lstrip(".")
    if kind not in ("png", "svg", "pdf"):
        raise ValueError(f"{target}: a picture's name must end in .png, .svg or .pdf")
    with atomic_write(target) as file:
        figure.savefig(file, format=kind, dpi=150, bbox_inches="tight")
    return target


def _pixels(image: Tensor) -> np.ndarray:
    if image.dtype != torch.uint8 or image.ndim != 3 or image.shape[0] != 3:
        raise ValueError(
            f"images must be uint8 (3, H, W), got {image.dtype} of shape {tuple(image.shape)}"
        )
    return image.permute(1, 2, 0).numpy()


def retrieval_grid(
    queries: Sequence[Tensor],
    hits: Sequence[Sequence[Tensor]],
    distances: Sequence[Sequence[int]],
    relevant: Sequence[Sequence[bool]] | None = None,
    *,
    query_names: Sequence[str] | None = None,
    title: str = "",
) -> "Figure":
    """A row a query: the query, then its hits with their Hamming distances.

    queries: Q images, hits: Q lists of images, both uint8 (3, H, W) of any size. relevant: for each
    hit whether it is a right one; None where nobody knows (no frames then). As in the DSH
    supplement, Figs. 7 to 18, with right hits framed solid and wrong ones dashed.
    """
    from matplotlib.figure import Figure

    if not len(queries) == len(hits) == len(distances):
        raise ValueError(
            f"retrieval_grid: queries, hits and distances must be equally many, got "
            f"{len(queries)}, {len(hits)} and {len(distances)}"
        )
    columns = 1 + max((len(row) for row in hits), default=0)
    figure = Figure(figsize=(1.05 * columns + 0.2, 1.3 * max(len(queries), 1) + 0.5))
    axes = figure.subplots(max(len(queries), 1), columns, squeeze=False)
    for axis in axes.flat:
        axis.set_axis_off()
    for row, query in enumerate(queries):
        name = _short(query_names[row]) if query_names else "query"
        _cell(axes[row, 0], query, name, QUERY, "solid")
        for column, image in enumerate(hits[row]):
            right = None if relevant is None else relevant[row][column]
            colour = {None: None, True: RIGHT, False: WRONG}[right]
            style = "dashed" if right is False else "solid"
            mark = {None: "", True: " ✓", False: " ✗"}[right]
            _cell(
                axes[row, column + 1], image, f"d = {distances[row][column]}{mark}", colour, style
            )
    if title:
        figure.suptitle(title, fontsize=10, y=1.0, va="bottom")
    figure.subplots_adjust(wspace=0.12, hspace=0.32, top=0.96, bottom=0.02, left=0.02, right=0.98)
    return figure


def _short(name: str, longest: int = 17) -> str:
    """A title no wider than its picture: both ends of a long name."""
    half = longest // 2
    return name if len(name) <= longest else f"{name[:half]}…{name[-half:]}"


def _cell(axis: Any, image: Tensor, text: str, colour: str | None, style: str) -> None:
    axis.set_axis_on()
    axis.set_xticks([])
    axis.set_yticks([])
    axis.imshow(_pixels(image), interpolation="lanczos")
    axis.set_title(text, fontsize=7.5, pad=2.5)
    for spine in axis.spines.values():
        spine.set_visible(colour is not None)
        spine.set_edgecolor(colour)
        spine.set_linewidth(2.2)
        spine.set_linestyle(style)


def precision_recall_figure(curves: dict[str, tuple[Sequence[float], Sequence[float]]]) -> "Figure":
    """curves: name -> (recall, precision), each in [0, 1] and equally long."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.6, 3.6))
    axis = figure.subplots()
    styles = ["solid", "dashed", "dotted", "dashdot"]
    for number, (name, (recall, precision)) in enumerate(curves.items()):
        axis.plot(recall, precision, label=name, linestyle=styles[number % 4], marker=".")
    axis.set(xlabel="recall", ylabel="precision", xlim=(0, 1.02), ylim=(0, 1.02))
    axis.grid(alpha=0.3)
    axis.legend(frameon=False)
    return figure
