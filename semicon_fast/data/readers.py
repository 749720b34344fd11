"""Shared functions of the dataset readers: root folders, text lists, image counts, splits."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from .hashing_data import HashingData, split
from .image_set import Files, ImageSet
from .roots import existing_folder


def find_root(root: str | os.PathLike[str], marker: str = "", nested: Sequence[str] = ()) -> Path:
    """The folder that contains the file `marker`: root itself or one of its subfolders `nested`.

    Raises ValueError if root is not a folder or none of these folders contains the marker.
    """
    base = existing_folder(root)
    for folder in (base, *(base / name for name in nested)):
        if (folder / marker).exists():
            return folder
    raise ValueError(f"{base} has no {marker}, which the official layout of this dataset has")


def read_lines(path: Path) -> list[str]:
    """The non-blank lines of a text file, without spaces and tabs around them.

    It is UTF-8; other bytes become surrogates, as in the names of files. Raises ValueError if it
    cannot be read.
    """
    try:
        text = path.read_text(encoding="utf-8-sig", errors="surrogateescape")
    except FileNotFoundError:
        raise ValueError(f"there is no file {path}") from None
    except OSError as error:
        raise ValueError(f"{path} could not be read: {error}") from error
    if "\0" in text:
        raise ValueError(f"{path} is not a text file in UTF-8: it holds the character NUL")
    # Not `splitlines` and a bare `strip`, which also take characters that names can hold.
    lines = [line.strip(" \t") for line in text.split("\n")]
    return [line for line in lines if line]


def read_pairs(path: Path) -> dict[str, str]:
    """A file of lines "key value" as a dict in file order; values may contain spaces.

    Raises ValueError for a missing file, a line without a value, or a repeated key.
    """
    pairs: dict[str, str] = {}
    for number, line in enumerate(read_lines(path), 1):
        key, _, value = line.partition(" ")
        if not value:
            raise ValueError(f'{path} line {number} must be "key value", got {line!r}')
        if key in pairs:
            raise ValueError(f"{path} line {number} repeats the key {key!r}")
        pairs[key] = value.strip()
    return pairs


def require_counts(name: str, official: Mapping[str, int], found: Sequence[int]) -> None:
    """Raises ValueError unless the counts, in the order of `official`, are the official ones."""
    if list(official.values()) != list(found):
        wanted = ", ".join(f"{count:,} {key}" for key, count in official.items())
        got = ", ".join(f"{n:,} {key}" for key, n in zip(official, found, strict=True))
        raise ValueError(
            f"{name} must have {wanted}, found {got}; check_counts=False skips this check"
        )


def flagged_split(
    name: str, base: Path, paths: dict[str, str], labels: dict[str, int], classes: Sequence[str]
) -> HashingData:
    """Hashing data in the layout of CUB: base/images, split by base/train_test_split.txt.

    Args:
        name: the dataset's name.
        base: folder with images/ and train_test_split.txt, whose lines are "id 1" for training
            images and "id 0" for test images.
        paths: path below base/images by image id; its order is the order of the images.
        labels: class label by image id.
        classes: class names.

    Raises:
        ValueError: the three files do not list the same images, or a flag is not 0 or 1.
    """
    flags = read_pairs(base / "train_test_split.txt")
    for listed, file in ((labels, "image_class_labels.txt"), (flags, "train_test_split.txt")):
        if different := sorted(paths.keys() ^ listed.keys()):
            raise ValueError(
                f"images.txt and {file} in {base} must list the same images, "
                f"{len(different):,} are in only one of them, such as {different[0]}"
            )
    if strange := [flag for flag in flags.values() if flag not in ("0", "1")]:
        raise ValueError(f"train_test_split.txt in {base} must have 0 or 1, got {strange[0]!r}")
    parts: dict[str, list[tuple[str, int]]] = {"1": [], "0": []}
    for key, path in paths.items():
        parts[flags[key]].append((f"images/{path}", labels[key]))
    description = f"{name}, official training images as database, test images as queries"
    return listed_split(name, base, parts["1"], parts["0"], classes, description)


def listed_split(
    name: str,
    base: Path,
    train: Sequence[tuple[str, int]],
    query: Sequence[tuple[str, int]],
    classes: Sequence[str],
    description: str,
) -> HashingData:
    """Hashing data from (path below base, label) pairs; the training images are the database.

    description: the split in a few words, for `HashingData.protocol`, without counts.
    """
    if not train or not query:
        raise ValueError(
            f"{name} needs training images and queries, got {len(train)} and {len(query)}"
        )
    pool = file_set(name, base, [*train, *query], classes)
    check_training_pairs(pool.labels[: len(train)], classes, f"{name} in {base}")
    rows = range(len(pool))
    return split(name, pool, rows[: len(train)], rows[len(train) :], description=description)


def file_set(
    name: str, base: Path, listed: Sequence[tuple[str, int]], classes: Sequence[str]
) -> ImageSet:
    """The image set of (path below base, label) pairs."""
    labels = torch.tensor([label for _, label in listed], dtype=torch.int64)
    return ImageSet(name, Files(base, [path for path, _ in listed]), labels, classes)


def check_training_pairs(labels: Tensor, classes: Sequence[str], where: str) -> None:
    """Raises ValueError unless every class has at least two training images (a similar pair)."""
    counts = torch.bincount(labels, minlength=len(classes))
    for name, count in zip(classes, counts.tolist(), strict=True):
        if count < 2:
            raise ValueError(
                f"class {name!r} of {where} needs at least 2 training images to learn from, "
                f"got {count}"
            )


def class_names_from_folders(listed: Sequence[tuple[str, int]], where: str) -> list[str]:
    """A class name for each label 0..max: the folder of its first image, or the number itself.

    Raises ValueError if a label is not below the number of images, so that one mistyped label does
    not create a huge number of classes.
    """
    highest = max((label for _, label in listed), default=-1)
    if highest >= len(listed):
        raise ValueError(f"{where} has {len(listed)} images, but a label {highest}")
    names = [str(label) for label in range(highest + 1)]
    for path, label in reversed(listed):
        names[label] = Path(path).parent.name or names[label]
    return names
