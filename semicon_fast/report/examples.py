"""Some images of a run, what the network makes of them, and what they find in its database."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from ..codes import pack_codes
from ..data import ImageSet
from ..data.decode import decode
from ..search import HammingIndex
from ..training import EncodedRun
from ..viz import Look, look

QUERIES, HITS = 6, 10


@dataclass(frozen=True)
class Hit:
    """An image that was found. parts: differing bits by part. right: None where nobody knows."""

    image: Tensor
    name: str
    label: str
    distance: int
    parts: list[int]
    right: bool | None


@dataclass(frozen=True)
class Examples:
    """B images uint8 (3, H, W) with names and labels, the look at them, and the hits of each."""

    images: list[Tensor]
    names: list[str]
    labels: list[str]
    look: Look
    parts: list[str]
    hits: list[list[Hit]] = field(default_factory=list)


def of_run(run: EncodedRun, queries: int = QUERIES, hits: int = HITS) -> Examples:
    """The first queries of different classes, and their nearest images in the database."""
    query = run.data.query
    chosen = _one_a_class(query.labels, queries)
    images = [query.image(i) for i in chosen]
    names = [query.identifier(i) for i in chosen]
    seen = look(run.model, images)
    return _found(run, images, names, seen, run.queries[chosen], query.labels[chosen], hits)


def of_paths(run: EncodedRun, paths: Sequence[Path], hits: int = HITS) -> Examples:
    """The images of these files. Raises BrokenImageError."""
    images = [decode(path) for path in paths]
    seen = look(run.model, images)
    codes = pack_codes(seen.outputs)
    return _found(run, images, [path.name for path in paths], seen, codes, None, hits)


def _found(
    run: EncodedRun,
    images: list[Tensor],
    names: list[str],
    seen: Look,
    codes: Tensor,
    labels: Tensor | None,
    count: int,
) -> Examples:
    database = run.data.database
    index = HammingIndex(run.bits, bit_groups=run.model.bit_groups)
    index.add(run.database)
    near, ids, parts = index.search(codes, min(count, len(database)), by_part=True)
    hits = [
        [
            Hit(
                database.image(i),
                database.identifier(i),
                _label(database, database.labels[i]),
                int(near[row, column]),
                parts[row, column].tolist(),
                None if labels is None else _share(labels[row], database.labels[i]),
            )
            for column, i in enumerate(ids[row].tolist())
        ]
        for row in range(len(images))
    ]
    words = ["" if labels is None else _label(run.data.query, labels[i]) for i in range(len(names))]
    return Examples(images, names, words, seen, list(run.model.bit_groups), hits)


def _one_a_class(labels: Tensor, count: int) -> list[int]:
    """The first image of each of the first classes; of several labels an image counts for one."""
    first: dict[int, int] = {}
    kinds = labels.to(torch.int64).argmax(1) if labels.ndim == 2 else labels
    for position, label in enumerate(kinds.tolist()):
        first.setdefault(label, position)
    return sorted(first.values())[:count]


def _label(images: ImageSet, label: Tensor) -> str:
    if images.multi_label:
        return ", ".join(images.classes[i] for i in label.nonzero().flatten().tolist())
    return images.classes[int(label)]


def _share(a: Tensor, b: Tensor) -> bool:
    return bool((a & b).any()) if a.dtype is torch.bool else bool(a == b)
