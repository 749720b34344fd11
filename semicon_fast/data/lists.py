"""Text lists of images: "path label", or "path 0 1 0 ..." for multi-label images."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from .hashing_data import HashingData, split
from .image_set import Files, ImageSet
from .naming import CommonRoot
from .readers import class_names_from_folders, find_root, read_lines

# Paths may contain spaces: the labels are the numbers at the end of the line.
LINE = re.compile(r"(?P<path>.*?\S)(?P<labels>(?:[ \t]+-?\d+)+)")


def load(
    root: str | os.PathLike[str],
    *,
    train: str = "train.txt",
    query: str = "test.txt",
    database: str | None = None,
    first_label: int = 0,
    classes: Sequence[str] | None = None,
    images: str = "",
    allow_overlap: bool = False,
    name: str | None = None,
) -> HashingData:
    """Hashing data from text lists of training images, queries and, optionally, a database.

    Each line is an image's path below root/images and its label, or for multi-label images one 0
    or 1 for each of C >= 2 labels. All lists must have the same number of labels per line.

    Args:
        root: folder that the list files and `images` are relative to.
        train: list file of the training images.
        query: list file of the queries.
        database: list file of the database; None: the training images are the database.
        first_label: number of the first class, 1 for lists that count from 1.
        classes: class names; None takes the label that `naming.CommonRoot` gives each class's first
            image or, where classes would share a name, the name of the folder that holds it.
        images: folder below root that the listed paths are relative to.
        allow_overlap: accept queries that are in the database too; each then finds itself first.
        name: the dataset's name; None takes the name of the root folder.

    Raises:
        ValueError: a missing or malformed list, inconsistent labels, or an overlap that is not
            allowed.
    """
    base = find_root(root)
    files = {"train": base / train, "query": base / query}
    if database is not None:
        files["database"] = base / database
    lists = {part: _read_list(file) for part, file in files.items()}
    paths = list(dict.fromkeys(path for listed in lists.values() for path, _ in listed))
    position = {path: row for row, path in enumerate(paths)}
    rows = {part: [position[path] for path, _ in listed] for part, listed in lists.items()}
    searched = set(rows.get("database", rows["train"]))
    shared = [row for row in rows["query"] if row in searched]
    if shared and not allow_overlap:
        raise ValueError(
            f"{len(shared):,} queries of {files['query']} are in the database too, such as "
            f"{paths[shared[0]]}; allow_overlap=True accepts them"
        )
    labels, names = _labels(lists, files, first_label, classes)
    title = name or base.name
    pool = ImageSet(title, Files(base / images, paths), labels, names)
    description = f"{title}, lists {', '.join(file.name for file in files.values())}"
    return split(
        title, pool, rows["train"], rows["query"], rows.get("database"), description=description
    )


def _read_list(file: Path) -> list[tuple[str, tuple[int, ...]]]:
    """(path, labels) of each line; every line must have as many labels as the first."""
    listed: list[tuple[str, tuple[int, ...]]] = []
    for number, line in enumerate(read_lines(file), 1):
        found = LINE.fullmatch(line)
        if found is None:
            raise ValueError(
                f'{file} line {number} must be "path label" or "path 0 1 0 ...", got {line[:80]!r}'
            )
        labels = tuple(map(int, found["labels"].split()))
        if listed and len(labels) != len(listed[0][1]):
            raise ValueError(
                f"{file} line {number} has {len(labels)} labels, "
                f"the earlier lines have {len(listed[0][1])}"
            )
        listed.append((found["path"].removeprefix("./"), labels))
    if not listed:
        raise ValueError(f"{file} lists no images")
    return listed


def _labels(
    lists: dict[str, list[tuple[str, tuple[int, ...]]]],
    files: dict[str, Path],
    first_label: int,
    classes: Sequence[str] | None,
) -> tuple[Tensor, list[str]]:
    """Labels of all distinct images, int64 (N,) or bool (N, C), and the class names."""
    widths = {part: len(listed[0][1]) for part, listed in lists.items()}
    if len(set(widths.values())) > 1:
        named = ", ".join(f"{files[part].name} {width}" for part, width in widths.items())
        raise ValueError(f"all lists must have the same number of labels per line, got {named}")
    given: dict[str, tuple[int, ...]] = {}
    for part, listed in lists.items():
        for path, numbers in listed:
            if given.setdefault(path, numbers) != numbers:
                raise ValueError(
                    f"{files[part]} gives {path} different labels than an earlier line"
                )
    if widths["train"] > 1:
        return _multi_label(given, classes, widths["train"])
    return _single_label(given, first_label, classes)


def _multi_label(
    given: dict[str, tuple[int, ...]], classes: Sequence[str] | None, width: int
) -> tuple[Tensor, list[str]]:
    labels = torch.tensor(list(given.values()), dtype=torch.int64)
    if bool(((labels != 0) & (labels != 1)).any()):
        wrong = next(path for path, numbers in given.items() if not {0, 1}.issuperset(numbers))
        raise ValueError(f"multiple labels of an image must each be 0 or 1, {wrong} has others")
    names = [str(number) for number in range(width)] if classes is None else list(classes)
    if len(names) != width:
        raise ValueError(f"classes must be {width} names, one per label, got {len(names)}")
    return labels.bool(), names


def _single_label(
    given: dict[str, tuple[int, ...]], first_label: int, classes: Sequence[str] | None
) -> tuple[Tensor, list[str]]:
    listed = [(path, numbers[0] - first_label) for path, numbers in given.items()]
    lowest, highest = (choose(label for _, label in listed) for choose in (min, max))
    if lowest < 0:
        raise ValueError(
            f"labels must be {first_label} or more (first_label), got {lowest + first_label}"
        )
    if lowest > 0 and first_label == 0:
        raise ValueError(
            f"no image has label 0, the lowest is {lowest}; "
            f"lists that count from {lowest} need first_label={lowest}"
        )
    names = _class_names(listed) if classes is None else list(classes)
    if highest >= len(names):
        raise ValueError(
            f"labels must lie in {first_label}..{len(names) - 1 + first_label} "
            f"({len(names)} classes), got {highest + first_label}"
        )
    return torch.tensor([label for _, label in listed]), names


def _class_names(listed: list[tuple[str, int]]) -> list[str]:
    """A name for each class of the (path, label) pairs, by the folders of its first image."""
    holders, root = class_names_from_folders(listed, "the lists"), CommonRoot()
    names: dict[int, str] = {}
    for path, _ in listed:
        root.add(path.split("/"))
    for path, label in listed:
        names.setdefault(label, root.label(path.split("/")))
    distinct = len(set(names.values()) - {""}) == len(names)
    return [names.get(i, name) for i, name in enumerate(holders)] if distinct else holders
