"""Birdlets: a generated fine-grained dataset whose classes differ in one small part.

Every bird has the same body; each of its P parts (crown, wing bar, tail tip, beak, ...) has one of
v colours. A class is the tuple of its part colours, so that neighbouring classes differ in one part
of 1-3 % of the pixels. Pose, light, hue, background and distractors vary independently of the
class. No files are read or written: image i depends only on the options, the seed and i.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from .birdlet_drawing import COLOURS, PARTS, Appearance, colour_names, draw
from .hashing_data import HashingData, split
from .image_set import ImageSet
from .seeds import generator, seed_of


class Birdlets:
    """Image source that draws birds; values: int64 (N, P), the part colours of each image."""

    def __init__(self, appearance: Appearance, values: Tensor, seed: int) -> None:
        self.appearance, self.values, self.seed = appearance, values, seed

    def __len__(self) -> int:
        return len(self.values)

    def image(self, row: int) -> Tensor:
        return self._draw(row)[0]

    def masks(self, row: int) -> Tensor:
        return self._draw(row)[1]

    def identifier(self, row: int) -> str:
        return f"birdlet {row:06d}"

    def _draw(self, row: int) -> tuple[Tensor, Tensor]:
        rng = np.random.default_rng(seed_of("birdlet", self.seed, row))
        return draw(self.appearance, tuple(self.values[row].tolist()), rng)


def load(
    root: object = None,
    *,
    classes: int = 16,
    train_per_class: int | Sequence[int] = 60,
    query_per_class: int | Sequence[int] = 15,
    size: int = 64,
    parts: int = 4,
    values: int | None = None,
    label_noise: float = 0.0,
    multi_label: bool = False,
    remove_parts: bool | Sequence[str] = False,
    shuffle_labels: bool = False,
    nuisance: float = 1.0,
    distractors: int = 3,
    part_size: float = 1.0,
    seed: int = 0,
) -> HashingData:
    """Birdlets as hashing data; the training images are the database.

    Args:
        root: must be None, since nothing is read.
        classes: number of classes.
        train_per_class: training images per class, or (least, most) to draw a number per class.
        query_per_class: queries per class, in the same form.
        size: side of the images in pixels.
        parts: number of coloured parts, the first 1-6 of head, wing, tail, beak, breast, collar.
        values: colours that a part can take, 2-6; None: the fewest that give enough classes.
        label_noise: fraction of the training labels that are replaced by another class.
        multi_label: labels are the part colours, bool (N, parts * values).
        remove_parts: parts drawn without their colour (True: all); a control experiment in which
            classes become indistinguishable.
        shuffle_labels: permute all labels; a control experiment without anything to learn.
        nuisance: strength of pose, light, hue and texture variation, see `Appearance`.
        distractors: largest number of berries and leaves, see `Appearance`.
        part_size: scale of the parts' area.
        seed: seed of the classes, the split and the images.

    Raises:
        ValueError: an argument is out of range.
    """
    if root is not None:
        raise ValueError(f"birdlets are generated, root must be None, got {root!r}")
    values = _fewest_values(classes, parts) if values is None else values
    _check_numbers(classes, parts, values, label_noise)
    appearance = _checked_appearance(size, parts, nuisance, distractors, part_size, remove_parts)
    table = class_table(classes, parts, values, seed)
    train = _classes_of_images(classes, train_per_class, "train_per_class", 2, seed)
    query = _classes_of_images(classes, query_per_class, "query_per_class", 1, seed)
    member = torch.cat([train, query])
    source = Birdlets(appearance, table[member], seed)
    names = [_class_name(row, values) for row in table.tolist()]
    labelled = torch.cat([_with_label_noise(train, classes, label_noise, seed), query])
    if shuffle_labels:
        labelled = _with_shuffled_labels(labelled, len(train), seed)
    pool = ImageSet("birdlets", source, labelled, names)
    if multi_label:
        pool = _part_labels(source, table[labelled], values)
    rows = range(len(member))
    description = f"birdlets, {parts} parts of {values} colours, seed {seed}"
    return split("birdlets", pool, rows[: len(train)], rows[len(train) :], description=description)


def class_table(classes: int, parts: int, values: int, seed: int) -> Tensor:
    """Part colours of each class, int64 (classes, parts), sorted; every class differs from some
    other class in exactly one part."""
    draws = generator("birdlets classes", seed)
    table = [(0,) * parts]
    while len(table) < classes:
        parent, part, step = (
            int(torch.randint(bound, (), generator=draws)) for bound in (len(table), parts, values)
        )
        child = list(table[parent])
        child[part] = (child[part] + step) % values
        if tuple(child) not in table:
            table.append(tuple(child))
    return torch.tensor(sorted(table))


def _with_label_noise(labels: Tensor, classes: int, share: float, seed: int) -> Tensor:
    """The labels with a fraction `share` of them replaced by another class."""
    draws = generator("birdlets label noise", seed)
    noisy = torch.rand(len(labels), generator=draws) < share
    other = torch.randint(1, classes, (len(labels),), generator=draws)
    return torch.where(noisy, (labels + other) % classes, labels)


def _with_shuffled_labels(labels: Tensor, train: int, seed: int) -> Tensor:
    """The training labels and the query labels, each permuted among themselves."""
    draws = generator("birdlets shuffled labels", seed)
    parts = (labels[:train], labels[train:])
    return torch.cat([part[torch.randperm(len(part), generator=draws)] for part in parts])


def _part_labels(source: Birdlets, shown: Tensor, values: int) -> ImageSet:
    parts = shown.shape[1]
    labels = torch.nn.functional.one_hot(shown, values).flatten(1).bool()
    names = [
        f"{PARTS[part]}={name}" for part in range(parts) for name in colour_names(part, values)
    ]
    return ImageSet("birdlets", source, labels, names)


def _class_name(row: Sequence[int], values: int) -> str:
    return " ".join(
        f"{colour_names(part, values)[value]}-{PARTS[part]}" for part, value in enumerate(row)
    )


def _classes_of_images(
    classes: int, per_class: int | Sequence[int], name: str, least: int, seed: int
) -> Tensor:
    """The class of each image, sorted; int64 (N,)."""
    bounds = (per_class, per_class) if isinstance(per_class, int) else tuple(per_class)
    if len(bounds) != 2 or not least <= bounds[0] <= bounds[1]:
        raise ValueError(f"{name} must be at least {least}, or (least, most), got {per_class}")
    counts = torch.randint(bounds[0], bounds[1] + 1, (classes,), generator=generator(name, seed))
    return torch.arange(classes).repeat_interleave(counts)


def _fewest_values(classes: int, parts: int) -> int:
    return next((v for v in range(2, len(COLOURS)) if v**parts >= classes), len(COLOURS))


def _check_numbers(classes: int, parts: int, values: int, label_noise: float) -> None:
    if not 1 <= parts <= len(PARTS):
        raise ValueError(f"parts must lie in 1..{len(PARTS)}, got {parts}")
    if not 2 <= values <= len(COLOURS):
        raise ValueError(f"values must lie in 2..{len(COLOURS)}, got {values}")
    if not 2 <= classes <= values**parts:
        raise ValueError(
            f"classes must lie in 2..{values**parts} with {parts} parts of {values} colours, "
            f"got {classes}"
        )
    if not 0 <= label_noise <= 1:
        raise ValueError(f"label_noise must lie in 0..1, got {label_noise}")


def _checked_appearance(
    size: int,
    parts: int,
    nuisance: float,
    distractors: int,
    part_size: float,
    remove_parts: bool | Sequence[str],
) -> Appearance:
    if size < 16:
        raise ValueError(f"size must be at least 16 pixels, got {size}")
    if nuisance < 0 or distractors < 0 or part_size <= 0:
        raise ValueError(
            "nuisance and distractors must be 0 or more and part_size positive, "
            f"got {nuisance}, {distractors}, {part_size}"
        )
    present = PARTS[:parts]
    if isinstance(remove_parts, bool):
        removed = present if remove_parts else ()
    else:
        removed = tuple(remove_parts)
        if unknown := [name for name in removed if name not in present]:
            raise ValueError(f"remove_parts must be among {present}, got {unknown}")
    return Appearance(size, parts, nuisance, distractors, part_size, removed)
