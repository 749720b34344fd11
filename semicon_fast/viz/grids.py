"""Retrieval grid: queries and their nearest images, with frames for relevant and other hits."""

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from .figure import COLOURS, Picture, Table, drawable, pixels

RELEVANT_COLOUR, OTHER_COLOUR, QUERY_COLOUR = COLOURS[0], COLOURS[1], COLOURS[-1]


def retrieval_grid(
    queries: Sequence[Tensor],
    hits: Sequence[Sequence[Tensor]],
    distances: Sequence[Sequence[int]],
    relevant: Sequence[Sequence[bool]] | None = None,
    *,
    query_names: Sequence[str] | None = None,
    hit_names: Sequence[Sequence[str]] | None = None,
    title: str = "",
) -> Picture:
    """One row per query: the query, then its hits with their Hamming distances.

    As in the DSH supplement, Figs. 7 to 18, with solid frames for relevant and dashed ones for
    other hits.

    Args:
        queries: Q images, uint8 (3, H, W) of any sizes.
        hits: for each query its hits, uint8 (3, H, W) of any sizes.
        distances: Hamming distance of each hit.
        relevant: whether each hit is relevant; None if unknown, which draws no frames.
        query_names: names of the queries; None: "query" in the figure, their numbers in the table.
        hit_names: names of the hits, for the table.
        title: title of the figure.

    Returns:
        the figure; its table has one row per hit.
    """
    if not len(queries) == len(hits) == len(distances):
        raise ValueError(
            f"retrieval_grid: queries, hits and distances must have the same length, got "
            f"{len(queries)}, {len(hits)} and {len(distances)}"
        )
    columns = 1 + max((len(row) for row in hits), default=0)
    table = _table(hits, distances, relevant, query_names, hit_names)
    figure = Picture(1.05 * columns + 0.2, 1.3 * max(len(queries), 1) + 0.5, table)
    axes = figure.subplots(max(len(queries), 1), columns, squeeze=False)
    for axis in axes.flat:
        axis.set_axis_off()
    for row, query in enumerate(queries):
        name = drawable(query_names[row]) if query_names else "query"
        _draw_image(axes[row, 0], query, name, QUERY_COLOUR, "solid")
        for column, image in enumerate(hits[row]):
            right = None if relevant is None else relevant[row][column]
            colour = {None: None, True: RELEVANT_COLOUR, False: OTHER_COLOUR}[right]
            style = "dashed" if right is False else "solid"
            mark = {None: "", True: " ✓", False: " ✗"}[right]
            _draw_image(
                axes[row, column + 1], image, f"d = {distances[row][column]}{mark}", colour, style
            )
    if title:
        figure.suptitle(drawable(title, 120), fontsize=10, y=1.0, va="bottom")
    figure.subplots_adjust(wspace=0.12, hspace=0.32, top=0.96, bottom=0.02, left=0.02, right=0.98)
    return figure


def _table(
    hits: Sequence[Sequence[Tensor]],
    distances: Sequence[Sequence[float]],
    relevant: Sequence[Sequence[bool]] | None,
    query_names: Sequence[str] | None,
    hit_names: Sequence[Sequence[str]] | None,
) -> Table:
    table = Table(("query", "rank", "hit", "distance", "relevant"))
    for row, found in enumerate(hits):
        for rank in range(len(found)):
            query = query_names[row] if query_names else row
            hit = hit_names[row][rank] if hit_names else ""
            right = "" if relevant is None else bool(relevant[row][rank])
            table.rows.append((query, rank + 1, hit, distances[row][rank], right))
    return table


def _draw_image(axis: Any, image: Tensor, text: str, colour: str | None, style: str) -> None:
    axis.set_axis_on()
    axis.set_xticks([])
    axis.set_yticks([])
    axis.imshow(pixels(image), interpolation="lanczos")
    axis.set_title(text, fontsize=7.5, pad=2.5)
    for spine in axis.spines.values():
        spine.set_visible(colour is not None)
        spine.set_edgecolor(colour)
        spine.set_linewidth(2.2)
        spine.set_linestyle(style)
