"""NABirds."""

from __future__ import annotations

import os

from .hashing_data import HashingData
from .readers import find_root, flagged_split, read_pairs, require_counts

OFFICIAL = {"classes": 555, "training images": 23_929, "test images": 24_633}


def load(root: str | os.PathLike[str], *, check_counts: bool = True) -> HashingData:
    """NABirds from root (or root/nabirds): images/, images.txt, image_class_labels.txt,
    train_test_split.txt, classes.txt.

    The official training images are the database, the official test images the queries. Labels are
    positions among the sorted class ids in use (555 of 1,011); the released code numbers them in
    the order of a Python set, which does not change any retrieval metric.

    Raises:
        ValueError: the files are not in this layout or, with check_counts, the counts are not
            those of `OFFICIAL`.
    """
    base = find_root(root, "images.txt", ["nabirds"])
    ids = read_pairs(base / "image_class_labels.txt")
    for key, text in ids.items():
        if not text.isdecimal():
            raise ValueError(f"image {key} of NABirds has class {text!r}, expected a number")
    used = sorted({int(text) for text in ids.values()})
    position = {number: label for label, number in enumerate(used)}
    names = {int(key): value for key, value in read_pairs(base / "classes.txt").items()}
    if unnamed := [number for number in used if number not in names]:
        raise ValueError(f"classes.txt of NABirds has no name for class {unnamed[0]}")
    data = flagged_split(
        "nabirds",
        base,
        read_pairs(base / "images.txt"),
        {key: position[int(text)] for key, text in ids.items()},
        [names[number] for number in used],
    )
    if check_counts:
        counts = (len(data.train.classes), len(data.train), len(data.query))
        require_counts("NABirds", OFFICIAL, counts)
    return data
