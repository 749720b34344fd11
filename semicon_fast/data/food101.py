"""Food-101."""

from __future__ import annotations

import os

from .hashing_data import HashingData
from .readers import find_root, listed_split, read_lines, require_counts

OFFICIAL = {"classes": 101, "training images": 75_750, "test images": 25_250}


def load(root: str | os.PathLike[str], *, check_counts: bool = True) -> HashingData:
    """Food-101 from root (or root/food-101): images/<class>/<id>.jpg, meta/classes.txt,
    meta/train.txt and meta/test.txt with lines "class/id".

    The official training images (750 per class, some with wrong labels) are the database, the test
    images the queries. A label is the line number in classes.txt, counted from 0.

    Raises:
        ValueError: the files are not in this layout or, with check_counts, the counts are not
            those of `OFFICIAL`.
    """
    base = find_root(root, "meta/classes.txt", ["food-101"])
    classes = read_lines(base / "meta" / "classes.txt")
    label = {name: number for number, name in enumerate(classes)}
    parts = []
    for part in ("train", "test"):
        listed = base / "meta" / f"{part}.txt"
        lines = read_lines(listed)
        if wrong := [line for line in lines if line.partition("/")[0] not in label]:
            raise ValueError(
                f'{listed} must have lines "class/id" of known classes, got {wrong[0]!r}'
            )
        parts.append([(f"images/{line}.jpg", label[line.partition("/")[0]]) for line in lines])
    if check_counts:
        counts = (len(classes), len(parts[0]), len(parts[1]))
        require_counts("Food-101", OFFICIAL, counts)
    description = "Food-101, official training images as database, test images as queries"
    return listed_split("food101", base, parts[0], parts[1], classes, description)
