"""Image folders: one subfolder per class, with or without a train/test split."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import torch

from .hashing_data import HashingData, split
from .readers import check_training_pairs, file_set, find_root, listed_split
from .seeds import generator

SUFFIXES = {
    *(".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".gif", ".ppm", ".pgm"),
}
VALIDATION_NAMES = ("validation", "val", "valid")


def load(
    root: str | os.PathLike[str],
    *,
    validation: str = "unused",
    query_fraction: float = 0.2,
    seed: int = 0,
    name: str | None = None,
) -> HashingData:
    """Hashing data from an image folder; the training images are the database.

    Either root/train/<class>/* and root/test/<class>/*, optionally with a folder validation/, val/
    or valid/, or, without root/train, one flat folder root/<class>/* that is split at random.
    Classes are the sorted folder names of the training images. Hidden files and files without an
    image suffix are ignored.

    Args:
        root: the dataset's folder.
        validation: "unused", "train" (add the validation images to the training images) or
            "query" (use them as queries instead of test/).
        query_fraction: for a flat folder of n images per class, round(query_fraction * n) images of
            each class become queries, at least 1 and at most n - 1.
        seed: seed of that random choice.
        name: the dataset's name; None takes the name of the root folder.

    Raises:
        ValueError: a folder is missing or empty, or an argument is out of range.
    """
    if validation not in ("unused", "train", "query"):
        raise ValueError(f'validation must be "unused", "train" or "query", got {validation!r}')
    base = find_root(root)
    label = name or base.name
    if (base / "train").is_dir():
        return _from_split(base, label, validation)
    if validation != "unused":
        raise ValueError(f"validation={validation!r} needs a folder train/ in {base}")
    if (base / "test").is_dir():
        raise ValueError(f"{base} has a folder test/ but no folder train/ beside it")
    return _from_flat(base, label, query_fraction, seed)


def _from_split(base: Path, name: str, validation: str) -> HashingData:
    train_parts, query_part = ["train"], "test"
    if validation != "unused":
        held_out = next((part for part in VALIDATION_NAMES if (base / part).is_dir()), None)
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
    classes = class_folders(base / "train")
    train = [pair for part in train_parts for pair in labelled_files(base, part, classes)]
    query = labelled_files(base, query_part, classes)
    if not query:
        raise ValueError(f"{base / query_part} has no images")
    description = f"{name}, {' and '.join(train_parts)} as database, {query_part} as queries"
    return listed_split(name, base, train, query, classes, description)


def _from_flat(base: Path, name: str, query_fraction: float, seed: int) -> HashingData:
    if not 0 < query_fraction < 1:
        raise ValueError(f"query_fraction must lie between 0 and 1, got {query_fraction}")
    classes = class_folders(base)
    pool = file_set(name, base, labelled_files(base, "", classes), classes)
    check_training_pairs(pool.labels, classes, f"{base}")
    queries = torch.zeros(len(pool), dtype=torch.bool)
    for label in range(len(classes)):
        rows = (pool.labels == label).nonzero()[:, 0]
        count = min(max(1, round(query_fraction * len(rows))), len(rows) - 1)
        order = torch.randperm(len(rows), generator=generator("folder", seed, label))
        queries[rows[order[:count]]] = True
    description = f"{name}, {query_fraction:.0%} of each class as queries drawn by seed {seed}"
    return split(
        name, pool, (~queries).nonzero()[:, 0], queries.nonzero()[:, 0], description=description
    )


def class_folders(folder: Path) -> list[str]:
    """The sorted names of the subfolders without hidden ones; ValueError if there are none."""
    names = sorted(
        entry.name for entry in folder.iterdir() if entry.is_dir() and entry.name[0] != "."
    )
    if not names:
        raise ValueError(f"{folder} has no class folders")
    return names


def image_files(folder: Path) -> list[Path]:
    """All files below the folder with an image suffix, sorted by path, without hidden ones."""
    found = []
    for parent, folders, names in os.walk(folder, followlinks=True):
        folders[:] = sorted(name for name in folders if name[0] != ".")
        found += [
            Path(parent, name)
            for name in names
            if name[0] != "." and os.path.splitext(name)[1].lower() in SUFFIXES
        ]
    return sorted(found)


def labelled_files(base: Path, part: str, classes: Sequence[str]) -> list[tuple[str, int]]:
    """(path below base, label) of the images in base/part/<class>, in the order of the folders.

    Raises ValueError for a folder that is not in `classes`.
    """
    listed = []
    for name in class_folders(base / part):
        if name not in classes:
            raise ValueError(
                f"{base / part} has a class folder {name!r} that the training images do not have"
            )
        label = classes.index(name)
        files = image_files(base / part / name)
        listed += [(file.relative_to(base).as_posix(), label) for file in files]
    return listed
