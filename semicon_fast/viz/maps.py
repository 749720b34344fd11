"""Figures of attention maps and feature channels over images, and of a pair's distance by part."""

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from .figure import COLOURS, Picture, Table, drawable, pixels

# A perceptually uniform colour map: its lightness is monotonic, so that it works in greyscale.
_COLOUR_MAP = "inferno"
# Opacity of the heat map at its maximum.
_MAX_OPACITY = 0.7


def overlay(image: Tensor, values: Tensor) -> Tensor:
    """A map as a heat map over the greyscale image.

    Args:
        image: uint8 (3, H, W).
        values: floating point (h, w), >= 0. Each map is scaled by its own maximum, so that the
            location of different maps can be compared, but not their values.

    Returns:
        uint8 (3, H, W).

    Raises:
        ValueError: an argument of another shape or dtype.
    """
    pixels(image)
    if values.ndim != 2 or not values.is_floating_point():
        raise ValueError(f"overlay: values must be floating (h, w), got {tuple(values.shape)}")
    largest = values.max() if values.numel() else values.sum()
    share = (values / largest.clamp(min=1e-12)).clamp(0, 1).float()[None, None]
    size = tuple(image.shape[-2:])
    share = F.interpolate(share, size, mode="bilinear", align_corners=False)[0, 0]
    heat = (
        torch.from_numpy(mpl.colormaps[_COLOUR_MAP](share.numpy())[..., :3]).permute(2, 0, 1) * 255
    )
    grey = (image.double() * torch.tensor([0.299, 0.587, 0.114])[:, None, None]).sum(0)
    weight = _MAX_OPACITY * share**0.5
    mixed = (1 - weight) * grey + weight * heat
    return mixed.round().clamp(0, 255).to(torch.uint8)


def _draw_image(axis: Any, image: Tensor, title: str = "") -> None:
    axis.set_axis_off()
    axis.imshow(pixels(image), interpolation="lanczos")
    if title:
        axis.set_title(title, fontsize=8, pad=2.5)


def _add_cells(table: Table, key: Sequence[Any], values: Tensor) -> None:
    """Append the cells of one map to the table, one row per cell."""
    for row, line in enumerate(values.tolist()):
        table.rows += [(*key, row, column, value) for column, value in enumerate(line)]


def attention_figure(
    images: Sequence[Tensor], maps: Tensor, names: Sequence[str] | None = None
) -> Picture:
    """One row per image: the image and its attention maps M1 to Mm (SEMICON supplement, Fig. 2).

    Args:
        images: B images uint8 (3, H, W) as given to the network (`Activations.seen`).
        maps: attention maps (B, m, h, w); each is scaled by its own maximum.
        names: names of the images; None: their numbers.

    Returns:
        the figure; its table has one row per cell of each map.
    """
    if maps.ndim != 4 or len(maps) != len(images):
        raise ValueError(
            f"attention_figure: maps must be ({len(images)}, m, h, w), got {tuple(maps.shape)}"
        )
    table = Table(("image", "map", "row", "column", "value"))
    figure, axes = _image_grid(len(images), 1 + maps.shape[1], table)
    for row, (image, found) in enumerate(zip(images, maps, strict=True)):
        name = names[row] if names else str(row)
        _draw_image(axes[row, 0], image, drawable(name))
        for i, values in enumerate(found):
            _draw_image(axes[row, i + 1], overlay(image, values), f"M{i + 1}" if row == 0 else "")
            _add_cells(table, (name, f"M{i + 1}"), values)
    return figure


def channel_figure(
    images: Sequence[Tensor],
    before: Tensor,
    after: Tensor,
    channels: Sequence[int],
    names: Sequence[str] | None = None,
) -> Picture:
    """Channels before (left) and after (right) ICON over the image (SEMICON supplement, Fig. 7).

    Args:
        images: B images uint8 (3, H, W).
        before: input of one ICON (B, C, h, w).
        after: its output, of the same shape.
        channels: the channels to draw.
        names: names of the images; None: their numbers.

    Returns:
        the figure, in which negative values are drawn as 0; its table has the original values.
    """
    if before.shape != after.shape or len(before) != len(images):
        raise ValueError(
            "channel_figure: before and after must have the same shape and one row per image, got "
            f"{tuple(before.shape)} and {tuple(after.shape)} for {len(images)} images"
        )
    table = Table(("image", "when", "channel", "row", "column", "value"))
    figure, axes = _image_grid(len(images), 1 + 2 * len(channels), table)
    for row, image in enumerate(images):
        name = names[row] if names else str(row)
        _draw_image(axes[row, 0], image, drawable(name))
        for side, (when, features) in enumerate((("before", before), ("after", after))):
            for i, channel in enumerate(channels):
                values = features[row, channel]
                title = f"{when} {channel}" if row == 0 else ""
                axis = axes[row, 1 + side * len(channels) + i]
                _draw_image(axis, overlay(image, values.clamp(min=0)), title)
                _add_cells(table, (name, when, channel), values)
    return figure


def explanation_figure(
    images: tuple[Tensor, Tensor],
    maps: tuple[Tensor | None, Tensor | None],
    parts: Mapping[str, tuple[int, int]],
    names: tuple[str, str] = ("query", "hit"),
) -> Picture:
    """Two images with their attention maps, and the Hamming distance of their codes by part.

    Args:
        images: uint8 (3, H, W) each.
        maps: (m, h, w) each, None if the network has no attention.
        parts: part name -> (differing bits, bits of the part), in the order of the codes.
        names: names of the images.
    """
    total = tuple(sum(value[i] for value in parts.values()) for i in (0, 1))
    table = Table(("bits of", "differing", "bits"), [(n, *v) for n, v in parts.items()])
    table.rows.append(("all", *total))
    known = [m for m in maps if m is not None]
    columns = 1 + (len(known[0]) if len(known) == 2 else 0)
    figure = Picture(1.5 * columns + 2.9, 3.5, table)
    halves: Any = figure.subfigures(1, 2, width_ratios=(1.5 * columns, 2.9))
    left, right = halves
    axes = left.subplots(2, columns, squeeze=False)
    for row, (image, found, name) in enumerate(zip(images, maps, names, strict=True)):
        _draw_image(axes[row, 0], image, drawable(name, 23))
        for i in range(columns - 1):
            assert found is not None
            _draw_image(axes[row, i + 1], overlay(image, found[i]), f"M{i + 1}")
    left.subplots_adjust(0.02, 0.02, 0.98, 0.92, wspace=0.06, hspace=0.16)
    axis = right.subplots()
    places = np.arange(len(parts))
    axis.barh(places, [v[1] for v in parts.values()], color="none", edgecolor="0.3", hatch="...")
    axis.barh(places, [v[0] for v in parts.values()], color=COLOURS[1], edgecolor="black")
    for place, (differing, bits) in zip(places, parts.values(), strict=True):
        axis.text(bits, place, f" {differing} of {bits}", va="center", fontsize=8)
    axis.set_yticks(places, [drawable(name) for name in parts], fontsize=8)
    axis.invert_yaxis()
    axis.set_xlim(0, 1.35 * max(v[1] for v in parts.values()))
    axis.set_xlabel("differing bits (dotted: equal)", fontsize=8)
    axis.set_title(f"distance {total[0]} of {total[1]} bits", fontsize=9)
    axis.spines[["top", "right"]].set_visible(False)
    right.subplots_adjust(0.24, 0.18, 0.97, 0.88)
    return figure


def _image_grid(rows: int, columns: int, table: Table) -> tuple[Picture, Any]:
    figure = Picture(1.25 * columns, 1.25 * max(rows, 1) + 0.35, table)
    axes = figure.subplots(max(rows, 1), columns, squeeze=False)
    for axis in axes.flat:
        axis.set_axis_off()
    figure.subplots_adjust(0.01, 0.01, 0.99, 0.94, wspace=0.05, hspace=0.14)
    return figure, axes
