"""VegFru vegetables and fruit."""

from __future__ import annotations

import os
from pathlib import Path

from .hashing_data import HashingData
from .readers import class_names_from_folders, find_root, listed_split, read_lines, require_counts

OFFICIAL = {
    "classes": 292,
    "training images": 29_200,
    "validation images": 14_600,
    "test images": 116_931,
}


def load(
    root: str | os.PathLike[str], *, validation: str = "unused", check_counts: bool = True
) -> HashingData:
    """VegFru from root: vegfru_list/vegfru_{train,val,test}.txt with lines "path label", image
    folders veg200_images/ and fru92_images/.

    The training images are the database, the test images the queries.

    Args:
        root: the dataset's folder.
        validation: "unused" as in the released code, or "train" to add the validation images to
            the training images and thus to the database.
        check_counts: whether to require the official counts.

    Raises:
        ValueError: the files are not in this layout or, with check_counts, the counts are not
            those of `OFFICIAL`.
    """
    if validation not in ("unused", "train"):
        raise ValueError(f'validation must be "unused" or "train", got {validation!r}')
    base = find_root(root, "vegfru_list/vegfru_train.txt")
    parts = {part: _read_list(base, part) for part in ("train", "val", "test")}
    everything = [pair for listed in parts.values() for pair in listed]
    classes = class_names_from_folders(everything, f"{base}")
    if check_counts:
        counts = (len(classes), *(len(listed) for listed in parts.values()))
        require_counts("VegFru", OFFICIAL, counts)
    train, description = parts["train"], "VegFru, train as database, test as queries"
    if validation == "train":
        train, description = (
            train + parts["val"],
            "VegFru, train and val as database, test as queries",
        )
    return listed_split("vegfru", base, train, parts["test"], classes, description)


def _read_list(base: Path, part: str) -> list[tuple[str, int]]:
    listed = base / "vegfru_list" / f"vegfru_{part}.txt"
    pairs = []
    for number, line in enumerate(read_lines(listed), 1):
        path, _, label = line.rpartition(" ")
        if not path or not label.isdecimal():
            raise ValueError(f'{listed} line {number} must be "path label", got {line!r}')
        pairs.append((path.strip().removeprefix("./"), int(label)))
    return pairs
