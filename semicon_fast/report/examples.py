"""Example queries of a run with the network's activations and their nearest database images."""

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
from ..viz import Activations, record_activations

QUERIES, HITS = 6, 10


@dataclass(frozen=True)
class Hit:
    """A retrieved image, uint8 (3, H, W).

    distance: Hamming distance in bits. parts: differing bits in each part. right: whether it is
    relevant, None if unknown.
    """

    image: Tensor
    name: str
    label: str
    distance: int
    parts: list[int]
    right: bool | None


@dataclass(frozen=True)
class Examples:
    """B example queries, uint8 (3, H, W), with their activations and hits.

    names: identifiers. labels: class names, "" if unknown. look: the network's activations.
    parts: names of the code's parts. hits: for each query its hits, nearest first.
    """

    images: list[Tensor]
    names: list[str]
    labels: list[str]
    look: Activations
    parts: list[str]
    hits: list[list[Hit]] = field(default_factory=list)


def of_run(run: EncodedRun, queries: int = QUERIES, hits: int = HITS) -> Examples:
    """The first queries of different classes with their nearest database images."""
    return of_queries(run, _one_per_class(run.data.query.labels, queries), hits)


def of_queries(run: EncodedRun, chosen: Sequence[int], hits: int = HITS) -> Examples:
    """The queries with these numbers and their nearest database images."""
    query, chosen = run.data.query, list(chosen)
    images = [query.image(i) for i in chosen]
    names = [query.identifier(i) for i in chosen]
    seen = record_activations(run.model, images)
    return _with_hits(run, images, names, seen, run.queries[chosen], query.labels[chosen], hits)


def of_paths(run: EncodedRun, paths: Sequence[Path], hits: int = HITS) -> Examples:
    """The images of these files with their nearest database images. Raises BrokenImageError."""
    images = [decode(path) for path in paths]
    seen = record_activations(run.model, images)
    codes = pack_codes(seen.outputs)
    return _with_hits(run, images, [path.name for path in paths], seen, codes, None, hits)


def _with_hits(
    run: EncodedRun,
    images: list[Tensor],
    names: list[str],
    seen: Activations,
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
                _label_text(database, database.labels[i]),
                int(near[row, column]),
                parts[row, column].tolist(),
                None if labels is None else _are_similar(labels[row], database.labels[i]),
            )
            for column, i in enumerate(ids[row].tolist())
        ]
        for row in range(len(images))
    ]
    label_texts = [""] * len(names)
    if labels is not None:
        label_texts = [_label_text(run.data.query, label) for label in labels]
    return Examples(images, names, label_texts, seen, list(run.model.bit_groups), hits)


def _one_per_class(labels: Tensor, count: int) -> list[int]:
    """Positions of the first image of each class, at most `count`; a multi-label image counts for
    the first of its labels."""
    first: dict[int, int] = {}
    kinds = labels.to(torch.int64).argmax(1) if labels.ndim == 2 else labels
    for position, label in enumerate(kinds.tolist()):
        first.setdefault(label, position)
    return sorted(first.values())[:count]


def _label_text(images: ImageSet, label: Tensor) -> str:
    if images.multi_label:
        return ", ".join(images.classes[i] for i in label.nonzero().flatten().tolist())
    return images.classes[int(label)]


def _are_similar(a: Tensor, b: Tensor) -> bool:
    return bool((a & b).any()) if a.dtype is torch.bool else bool(a == b)
