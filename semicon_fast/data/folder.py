"""Image folders: one subfolder per class, with or without a train/test split."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import torch

from . import listing
from .hashing_data import HashingData, split
from .naming import VALIDATION_FOLDERS
from .passed_over import LOOSE, PassedOver, in_words, passed_over_in_words
from .readers import check_training_pairs, file_set, find_root, listed_split
from .seeds import generator


def load(
    root: str | os.PathLike[str],
    *,
    validation: str = "unused",
    query_fraction: float = 0.2,
    seed: int = 0,
    name: str | None = None,
) -> HashingData:
    """Hashing data from an image folder; the training images are the database.

    Either root/train/<class>/... and root/test/<class>/..., optionally with a folder validation/,
    val/ or valid/, or one flat folder root/<class>/... that is split at random. What is an image,
    and what links and hidden files mean, is said in `listing`. Classes are the sorted names of the
    folders with training images in them, at any depth. Images that lie in no class folder are
    passed over; what is passed over is counted in `HashingData.passed_over` and in the protocol.

    Args:
        root: the dataset's folder.
        validation: "unused", "train" (add the validation images to the training images) or
            "query" (use them as queries instead of test/).
        query_fraction: for a flat folder of n images per class, round(query_fraction * n) images of
            each class become queries, at least 1 and at most n - 1.
        seed: seed of that random choice.
        name: the dataset's name; None takes the name of the root folder.

    Raises:
        ValueError: a folder is missing, empty or not readable, or an argument is out of range.
    """
    if validation not in ("unused", "train", "query"):
        raise ValueError(f'validation must be "unused", "train" or "query", got {validation!r}')
    base = find_root(root)
    label = name or listing.folder_name(base)
    if listing.has_split(base):
        return _from_split(base, label, validation)
    if validation != "unused":
        raise ValueError(f"validation={validation!r} needs a folder train/ of classes in {base}")
    if (base / "test").is_dir():
        raise ValueError(f"{base} has a folder test/ but no folder train/ of classes beside it")
    return _from_flat(base, label, query_fraction, seed)


def _from_split(base: Path, name: str, validation: str) -> HashingData:
    train_parts, query_part = ["train"], "test"
    if validation != "unused":
        held_out = next((part for part in VALIDATION_FOLDERS if (base / part).is_dir()), None)
        if held_out is None:
            raise ValueError(
                f"validation={validation!r} needs a folder validation/ or val/ in {base}"
            )
        if validation == "train":
            train_parts.append(held_out)
        else:
            query_part = held_out
    if not (base / query_part).is_dir():
        raise ValueError(
            f"{base} has no folder {query_part}/ with the queries; "
            'validation="query" takes them from validation/ or val/'
        )
    passed = PassedOver()
    found = labelled_images(base, passed, (*train_parts, query_part))
    classes = sorted({label for label, path in found if path.startswith("train/")})
    if not classes:
        raise _no_classes(base / "train", passed)
    if not any(path.startswith(f"{query_part}/") for _, path in found):
        raise ValueError(f"{base / query_part} has no images in class folders{_said(passed)}")
    pairs = numbered(found, classes, base)
    query = [pair for pair in pairs if pair[0].startswith(f"{query_part}/")]
    train = [pair for pair in pairs if not pair[0].startswith(f"{query_part}/")]
    description = f"{name}, {' and '.join(train_parts)} as database, {query_part} as queries"
    return with_counts(
        listed_split(name, base, train, query, classes, counted(description, passed)), passed
    )


def _from_flat(base: Path, name: str, query_fraction: float, seed: int) -> HashingData:
    if not 0 < query_fraction < 1:
        raise ValueError(f"query_fraction must lie between 0 and 1, got {query_fraction}")
    passed = PassedOver()
    found = labelled_images(base, passed)
    classes = sorted({label for label, _ in found})
    if not classes:
        raise _no_classes(base, passed)
    pool = file_set(name, base, numbered(found, classes, base), classes)
    check_training_pairs(pool.labels, classes, f"{base}")
    queries = torch.zeros(len(pool), dtype=torch.bool)
    counts = pool.labels.bincount(minlength=len(classes)).tolist()
    for label, rows in enumerate(pool.labels.argsort(stable=True).split(counts)):
        count = min(max(1, round(query_fraction * len(rows))), len(rows) - 1)
        order = torch.randperm(len(rows), generator=generator("folder", seed, label))
        queries[rows[order[:count]]] = True
    description = f"{name}, {query_fraction:.0%} of each class as queries drawn by seed {seed}"
    train, query = (~queries).nonzero()[:, 0], queries.nonzero()[:, 0]
    return with_counts(
        split(name, pool, train, query, description=counted(description, passed)), passed
    )


def labelled_images(
    base: Path, passed: PassedOver, parts: Sequence[str] = ()
) -> list[tuple[str, str]]:
    """(class, path below base) of the images in class folders, without those that lie in none.

    Sorted by part, class and path. parts: the folders of a split to read; none for a flat folder.
    """
    found = []
    for image in listing.images(base, passed, parts=parts):
        if image.loose:
            passed.add(LOOSE)
        else:
            part = image.path.partition("/")[0] if parts else ""
            found.append((parts.index(part) if parts else 0, image.label, image.path))
    # A stable order of classes and paths, wherever links led to.
    return [(label, path) for _, label, path in sorted(found, key=_by_folders)]


def _by_folders(image: tuple[int, str, str]) -> tuple[int, str, list[str]]:
    part, label, path = image
    return part, label, path.split("/")


def numbered(
    found: Iterable[tuple[str, str]], classes: Sequence[str], base: Path
) -> list[tuple[str, int]]:
    """(path below base, number of the class) of (class, path below base).

    Raises ValueError for a class that is not in `classes`.
    """
    number = {name: i for i, name in enumerate(classes)}
    if unknown := next(((label, path) for label, path in found if label not in number), None):
        part = unknown[1].partition("/")[0]
        raise ValueError(
            f"{base / part} has a class folder {unknown[0]!r} that the training images do not have"
        )
    return [(path, number[label]) for label, path in found]


def counted(description: str, passed: PassedOver) -> str:
    """The description of a split, with what was passed over."""
    if not any(passed.counts.values()):
        return description
    return f"{description}, passed over {passed.total:,} ({in_words(passed.counts)})"


def with_counts(data: HashingData, passed: PassedOver) -> HashingData:
    """The same data that also says what was passed over."""
    return replace(data, passed_over=passed.to_dict())


def _no_classes(folder: Path, passed: PassedOver) -> ValueError:
    return ValueError(f"{folder} has no class folders with images{_said(passed)}")


def _said(passed: PassedOver) -> str:
    said = passed_over_in_words(passed.counts)
    return f"; {said}" if said else ""
