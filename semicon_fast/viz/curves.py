"""Plots of metrics and outputs: precision-recall, code length, mAP by parts, output histogram."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from .figure import COLOURS, Picture, Table, drawable, line_style


def _line_plot(xlabel: str, ylabel: str, table: Table) -> tuple[Picture, Any]:
    figure = Picture(4.8, 3.6, table)
    axis = figure.subplots()
    axis.set(xlabel=xlabel, ylabel=drawable(ylabel, 60))
    axis.grid(alpha=0.3)
    return figure, axis


# Legends are placed above the axes, where they cannot cover a curve.
_LEGEND_STYLE: dict[str, Any] = {"frameon": False, "fontsize": 8, "loc": "lower left"}


# Characters of a legend entry.
_LONGEST_ENTRY = 60


def _legend(axis: Any, names: Iterable[str]) -> None:
    """A legend of all the lines; Matplotlib's own leaves out names that begin with "_"."""
    entries = [drawable(name, _LONGEST_ENTRY) for name in names]
    axis.legend(axis.get_lines(), entries, **_LEGEND_STYLE, bbox_to_anchor=(0, 1))


def precision_recall_figure(
    curves: Mapping[str, tuple[Sequence[float], Sequence[float]]],
) -> Picture:
    """Precision-recall curves over the Hamming radius.

    curves: legend entry -> (recall, precision), two sequences of values in [0, 1] for the radii
    0, 1, 2, ...
    """
    table = Table(("curve", "radius", "recall", "precision"))
    figure, axis = _line_plot("recall", "precision", table)
    for number, (name, (recall, precision)) in enumerate(curves.items()):
        style = line_style(number) | {"markersize": 2.5}
        axis.plot(recall, precision, label=name, **style)
        points = zip(recall, precision, strict=True)
        table.rows += [(name, radius, *point) for radius, point in enumerate(points)]
    axis.set(xlim=(0, 1.02), ylim=(0, 1.02))
    _legend(axis, curves)
    return figure


def code_length_figure(
    lines: Mapping[str, Mapping[int, float]], ylabel: str = "precision within radius 2"
) -> Picture:
    """A metric over the code length.

    lines: legend entry -> {bits: value in [0, 1]}. ylabel: name of the metric.
    """
    table = Table(("line", "bits", ylabel))
    figure, axis = _line_plot("bits", ylabel, table)
    for number, (name, values) in enumerate(lines.items()):
        bits = sorted(values)
        axis.plot(bits, [values[b] for b in bits], label=name, **line_style(number))
        table.rows += [(name, b, values[b]) for b in bits]
    ticks = sorted({b for values in lines.values() for b in values})
    axis.set(ylim=(0, 1.02), xticks=ticks)
    _legend(axis, lines)
    return figure


def parts_figure(
    cumulative: Mapping[str, Mapping[str, float]], alone: Mapping[str, Mapping[str, float]]
) -> Picture:
    """mAP by the number of parts used, and of each part alone (SEMICON supplement, Fig. 4).

    cumulative, alone: legend entry -> the result of `metrics.part_contributions` under that key,
    with the same parts in the same order for every line.
    """
    table = Table(("line", "bits of", "used", "mAP"))
    figure = Picture(7.2, 3.4, table)
    axes = figure.subplots(1, 2, sharey=True)
    kinds = ((axes[0], "cumulative", cumulative), (axes[1], "alone", alone))
    for axis, kind, lines in kinds:
        for number, (name, values) in enumerate(lines.items()):
            style = line_style(number)
            if kind == "alone":
                style |= {"linestyle": "none", "markersize": 6}
            axis.plot(range(len(values)), list(values.values()), label=name, **style)
            table.rows += [(name, bits, kind, value) for bits, value in values.items()]
        names = [drawable(name.rpartition("+")[2]) for name in next(iter(lines.values()), {})]
        if kind == "cumulative":
            names = [name if i == 0 else f"+ {name}" for i, name in enumerate(names)]
        axis.set_xticks(range(len(names)), names, rotation=30, ha="right", fontsize=8)
        axis.set(title=f"bits of each part, {kind}", ylim=(0, 1.02))
        axis.title.set_fontsize(9)
        axis.grid(alpha=0.3)
    axes[0].set_ylabel("mAP")
    figure.tight_layout()
    entries = [drawable(name, _LONGEST_ENTRY) for name in cumulative]
    figure.legend(axes[0].get_lines(), entries, **_LEGEND_STYLE, bbox_to_anchor=(0.06, 0.98))
    return figure


def output_histogram(outputs: Mapping[str, Any], bins: int = 60) -> Picture:
    """Histogram of a network's real-valued outputs before the sign (DSH supplement, Fig. 1).

    Two peaks at -1 and +1 mean a small quantisation error.

    outputs: part name -> real values of any shape; one panel each, with common axes. bins: number
    of bins.
    """
    table = Table(("outputs of", "from", "to", "share"))
    arrays = {name: np.asarray(values, np.float64).ravel() for name, values in outputs.items()}
    widest = max((np.abs(values).max(initial=0.0) for values in arrays.values()), default=0.0)
    edges = np.linspace(-max(1.0, widest), max(1.0, widest), bins + 1)
    figure = Picture(max(4.8, 1.9 * len(arrays)), 2.6, table)
    axes = figure.subplots(1, max(1, len(arrays)), sharey=True, squeeze=False)[0]
    for axis, (name, values) in zip(axes, arrays.items(), strict=False):
        shares = np.histogram(values, edges)[0] / max(1, len(values))
        axis.stairs(shares, edges, fill=True, color=COLOURS[0])
        for sign in (-1, 1):
            axis.axvline(sign, color=COLOURS[1], linestyle="dashed", linewidth=0.9)
        axis.set_title(f"{drawable(name)}, {len(values):,} values", fontsize=8)
        axis.set_xlabel("output")
        axis.locator_params(axis="x", nbins=5)
        cells = zip(edges[:-1].tolist(), edges[1:].tolist(), shares.tolist(), strict=True)
        table.rows += [(name, *cell) for cell in cells]
    axes[0].set_ylabel("share of the values")
    figure.tight_layout()
    return figure
