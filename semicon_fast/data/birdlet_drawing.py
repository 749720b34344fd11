"""Draws one bird of the Birdlets dataset: body template, coloured parts and nuisance factors.

Template coordinates: the bird faces right, x points right and y down; its length is about 2.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from torch import Tensor

Points = NDArray[np.float64]
Colour = tuple[int, int, int]

PARTS = ("head", "wing", "tail", "beak", "breast", "collar")
COLOURS: dict[str, Colour] = {
    "red": (214, 36, 42),
    "yellow": (250, 212, 48),
    "blue": (40, 84, 214),
    "white": (246, 246, 242),
    "black": (22, 22, 28),
    "green": (28, 158, 84),
}
BODIES: tuple[Colour, ...] = (
    *((150, 116, 84), (128, 128, 132), (136, 134, 98), (172, 148, 122), (112, 104, 112)),
)
GROUNDS: tuple[tuple[Colour, Colour], ...] = (
    ((168, 200, 224), (206, 214, 206)),
    ((124, 152, 104), (78, 104, 70)),
    ((206, 190, 160), (150, 138, 110)),
    ((176, 182, 190), (120, 126, 130)),
)
# Images are drawn at this multiple of their size and reduced, for anti-aliasing.
OVERSAMPLING = 3


@dataclass(frozen=True)
class Appearance:
    """Options that the images of a dataset share.

    Attributes:
        size: side of the image in pixels.
        parts: number of coloured parts, the first ones of `PARTS`.
        nuisance: scale of the variation of pose, light, hue and texture (0: none, 1: default).
        distractors: largest number of berries and leaves in the background.
        part_size: scale of the parts' area.
        removed: parts that are drawn without their colour.
    """

    size: int = 64
    parts: int = 4
    nuisance: float = 1.0
    distractors: int = 3
    part_size: float = 1.0
    removed: tuple[str, ...] = ()


def draw(
    appearance: Appearance, values: tuple[int, ...], rng: np.random.Generator
) -> tuple[Tensor, Tensor]:
    """Draw one bird.

    The random numbers drawn do not depend on `values`: the same generator state gives the same
    pose, light and background for every class.

    Args:
        look: options of the dataset.
        values: colour of each of the P parts, as an index into `colour_names`.
        rng: source of random numbers.

    Returns:
        the image, uint8 (3, S, S), and the visible pixels of each part, bool (P, S, S).
    """
    side = appearance.size * OVERSAMPLING
    picture = _background(side, appearance, rng)
    owners = Image.new("L", (side, side), 0)
    painters = (ImageDraw.Draw(picture), ImageDraw.Draw(owners))
    _draw_distractors(painters[0], side, appearance, rng)
    body = np.array(BODIES[rng.integers(len(BODIES))]) + rng.normal(0, 8, 3) * appearance.nuisance
    pose = _pose(appearance, rng)
    bend = rng.uniform(-1, 1, 2) * appearance.nuisance * 0.22
    for points, colour, part in _bird_polygons(appearance, values, body, bend):
        pixels = ((points @ pose[:2] + pose[2]) * side / 2 + side / 2).ravel().tolist()
        painters[0].polygon(pixels, fill=colour)
        painters[1].polygon(pixels, fill=part)
    share = np.stack([np.asarray(owners) == part + 1 for part in range(appearance.parts)])
    cells = share.reshape(
        appearance.parts, appearance.size, OVERSAMPLING, appearance.size, OVERSAMPLING
    )
    masks = cells.sum((2, 4)) * 2 > OVERSAMPLING**2
    pixels = _add_lighting(np.asarray(picture.reduce(OVERSAMPLING)), appearance, rng)
    return torch.from_numpy(pixels).permute(2, 0, 1).contiguous(), torch.from_numpy(masks)


def colour_names(part: int, values: int) -> list[str]:
    """Names of the colours a part can take; each part starts at another place in the palette."""
    names = list(COLOURS)
    return [names[(part + value) % len(names)] for value in range(values)]


def _smooth(corners: list[tuple[float, float]], steps: int = 4) -> Points:
    """A closed Catmull-Rom curve through the corners."""
    p = np.array(corners)
    before, after, last = np.roll(p, 1, 0), np.roll(p, -1, 0), np.roll(p, -2, 0)
    t = (np.arange(steps) / steps)[None, :, None]
    a, b, c, d = (points[:, None] for points in (before, p, after, last))
    curve = b + t / 2 * (c - a + t * (2 * a - 5 * b + 4 * c - d + t * (3 * (b - c) + d - a)))
    return curve.reshape(-1, 2)


def _disc(x: float, y: float, rx: float, ry: float | None = None, corners: int = 20) -> Points:
    angle = np.arange(corners) * 2 * np.pi / corners
    return np.stack([x + rx * np.cos(angle), y + (ry or rx) * np.sin(angle)], 1)


_BODY = _smooth(
    [
        *((0.63, -0.32), (0.58, -0.50), (0.40, -0.59), (0.20, -0.50), (0.06, -0.28)),
        *((-0.22, -0.14), (-0.46, 0.03), (-0.54, 0.14), (-0.36, 0.27), (-0.08, 0.39)),
        *((0.20, 0.38), (0.42, 0.20), (0.53, -0.02), (0.58, -0.18)),
    ]
)
_BELLY = _smooth(
    [(-0.34, 0.25), (-0.06, 0.37), (0.19, 0.36), (0.38, 0.20), (0.20, 0.16), (-0.10, 0.20)]
)
_TAIL = np.array([(-0.38, 0.0), (-0.95, 0.08), (-0.99, 0.32), (-0.88, 0.36), (-0.40, 0.22)])
_WING = _smooth(
    [(0.26, -0.10), (0.04, -0.20), (-0.24, -0.08), (-0.64, 0.17), (-0.22, 0.22), (0.14, 0.18)]
)
_FEATHERS = [
    np.array([(-0.30, 0.06), (-0.58, 0.16), (-0.57, 0.18), (-0.30, 0.09)]),
    np.array([(-0.28, 0.13), (-0.48, 0.185), (-0.47, 0.205), (-0.28, 0.16)]),
]
_LEGS = [
    np.array([(-0.02, 0.34), (0.03, 0.34), (0.06, 0.64), (0.01, 0.64)]),
    np.array([(0.14, 0.34), (0.19, 0.34), (0.23, 0.64), (0.18, 0.64)]),
]
_BRANCH = np.array(
    [(-1.8, 0.66), (-0.4, 0.60), (0.5, 0.62), (1.8, 0.56), (1.8, 0.66), (-1.8, 0.76)]
)
_PART_SHAPES: dict[str, Points] = {
    "head": _smooth(
        [(0.62, -0.42), (0.57, -0.51), (0.40, -0.60), (0.20, -0.51), (0.16, -0.40), (0.38, -0.42)]
    ),
    "wing": np.array([(0.10, -0.19), (-0.10, -0.15), (-0.12, 0.20), (0.08, 0.19)]),
    "tail": np.array([(-0.72, 0.05), (-0.96, 0.08), (-1.0, 0.32), (-0.89, 0.36), (-0.70, 0.30)]),
    "beak": np.array([(0.58, -0.43), (0.78, -0.38), (0.97, -0.24), (0.74, -0.21), (0.57, -0.20)]),
    "breast": _disc(0.39, 0.08, 0.14, 0.16),
    "collar": np.array([(0.16, -0.42), (0.10, -0.27), (0.54, -0.10), (0.59, -0.22)]),
}
_HINGES = {"head": (0.36, -0.36), "tail": (-0.44, 0.10)}


def _bird_polygons(
    appearance: Appearance, values: tuple[int, ...], body: Points, bend: Points
) -> list[tuple[Points, Colour, int]]:
    """(polygon, colour, part number + 1, or 0 for none) from back to front.

    bend: rotation of head and tail in radians.
    """

    def tone(gain: float) -> Colour:
        return tuple(int(c) for c in np.clip(body * gain, 0, 255))  # type: ignore[return-value]

    def part(name: str) -> list[tuple[Points, Colour, int]]:
        number = PARTS.index(name)
        if number >= appearance.parts or name in appearance.removed:
            return []
        colour = COLOURS[colour_names(number, values[number] + 1)[-1]]
        shape = _PART_SHAPES[name]
        middle = shape.mean(0)
        return [(middle + (shape - middle) * appearance.part_size**0.5, colour, number + 1)]

    dull_beak = (_PART_SHAPES["beak"], (92, 84, 76), 0)
    eye = [(_disc(0.47, -0.36, 0.055), (12, 12, 12), 0), (_disc(0.49, -0.38, 0.02), (250,) * 3, 0)]
    legs = [(leg, (88, 66, 52), 0) for leg in _LEGS]
    tail = _rotated([(_TAIL, tone(0.72), 0), *part("tail")], "tail", bend[1])
    crown = (_BODY[:20], tone(1.0), 0)  # outline of the head, which rotates with its parts
    head = _rotated([crown, dull_beak, *part("beak"), *part("head"), *eye], "head", bend[0])
    trunk = [(_BODY, tone(1.0), 0), (_BELLY, tone(1.28), 0), *part("breast")]
    wing = [(_WING, tone(0.8), 0), *((f, tone(0.55), 0) for f in _FEATHERS), *part("wing")]
    return [(_BRANCH, (96, 74, 54), 0), *tail, *legs, *trunk, *part("collar"), *head, *wing]


def _rotated(
    shapes: list[tuple[Points, Colour, int]], hinge: str, angle: float
) -> list[tuple[Points, Colour, int]]:
    centre = np.array(_HINGES[hinge])
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    return [((points - centre) @ turn + centre, colour, part) for points, colour, part in shapes]


def _pose(appearance: Appearance, rng: np.random.Generator) -> Points:
    """Random affine map to image coordinates in -1..1, (3, 2): a 2 x 2 matrix and a shift."""
    amount = appearance.nuisance
    angle, shear, stretch, scale = rng.uniform(-1, 1, 4) * amount * (0.35, 0.15, 0.1, 0.1)
    shift = rng.uniform(-1, 1, 2) * amount * 0.08
    mirror = -1.0 if rng.random() < 0.5 and amount > 0 else 1.0
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    linear = np.array([[mirror, 0.0], [shear * mirror, 1.0]]) * (1 + stretch, 1 - stretch)
    return np.vstack([linear @ turn * (0.88 + scale), shift])


def _background(side: int, appearance: Appearance, rng: np.random.Generator) -> Image.Image:
    """A vertical gradient between two natural colours with low-frequency noise."""
    top, bottom = (np.array(c, dtype=float) for c in GROUNDS[rng.integers(len(GROUNDS))])
    cells = int(rng.integers(4, 13))
    line = np.linspace(0, 1, cells)[:, None, None]
    coarse = top * (1 - line) + bottom * line + np.zeros((1, cells, 1))
    coarse = coarse + rng.normal(0, 14, (cells, cells, 1)) * appearance.nuisance
    coarse = coarse + rng.normal(0, 6, (cells, cells, 3)) * appearance.nuisance
    image = Image.fromarray(coarse.clip(0, 255).astype(np.uint8))
    return image.resize((side, side), Image.Resampling.BICUBIC)


def _draw_distractors(
    painter: ImageDraw.ImageDraw, side: int, appearance: Appearance, rng: np.random.Generator
) -> None:
    """Leaves and berries behind the bird, berries in the colours of the parts."""
    palette = list(COLOURS.values())
    for _ in range(int(rng.integers(0, appearance.distractors + 1))):
        place, angle = rng.uniform(-1, 1, 2), rng.uniform(0, np.pi)
        if rng.random() < 0.5:
            shape = _disc(0, 0, rng.uniform(0.04, 0.09))
            colour = palette[rng.integers(len(palette))]
        else:
            shape = _smooth([(-0.26, 0), (-0.05, -0.09), (0.26, 0), (-0.05, 0.09)])
            colour = (58, int(rng.integers(88, 136)), 52)
        turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
        pixels = ((shape @ turn + place) * side / 2 + side / 2).ravel().tolist()
        painter.polygon(pixels, fill=colour)


def _add_lighting(
    pixels: NDArray[np.uint8], appearance: Appearance, rng: np.random.Generator
) -> NDArray[np.uint8]:
    """Random hue rotation about the grey axis, brightness, directional lighting and noise."""
    amount = appearance.nuisance
    angle, gain, slope, towards = rng.uniform(-1, 1, 4) * amount * (0.2, 0.15, 0.15, np.pi)
    grain = rng.normal(0, 4, pixels.shape) * amount
    third = (1 - np.cos(angle)) / 3
    side = np.sin(angle) / np.sqrt(3)
    hue = np.cos(angle) * np.eye(3) + third
    hue += side * np.array([[0, -1, 1], [1, 0, -1], [-1, 1, 0]])
    line = np.linspace(-1, 1, appearance.size)
    light = 1 + gain + slope * (np.cos(towards) * line[None, :] + np.sin(towards) * line[:, None])
    lit = pixels @ hue.T * light[:, :, None] + grain
    return lit.clip(0, 255).astype(np.uint8)
