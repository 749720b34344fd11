"""CUB-200-2011 birds."""

from __future__ import annotations

import os

from .hashing_data import HashingData
from .readers import class_names_from_folders, find_root, flagged_split, read_pairs, require_counts

OFFICIAL = {"classes": 200, "training images": 5_994, "test images": 5_794}


def load(root: str | os.PathLike[str], *, check_counts: bool = True) -> HashingData:
    """CUB-200-2011 from root (or root/CUB_200_2011): images/, images.txt,
    image_class_labels.txt, train_test_split.txt.

    The official training images are the database, the official test images the queries. Labels are
    the official class numbers minus 1; class names are the names of their folders.

    Raises:
        ValueError: the files are not in this layout or, with check_counts, the counts are not
            those of `OFFICIAL`.
    """
    base = find_root(root, "images.txt", ["CUB_200_2011"])
    paths = read_pairs(base / "images.txt")
    labels = {
        key: _class_number(key, text) - 1
        for key, text in read_pairs(base / "image_class_labels.txt").items()
    }
    listed = [(path, labels[key]) for key, path in paths.items() if key in labels]
    data = flagged_split("cub", base, paths, labels, class_names_from_folders(listed, f"{base}"))
    if check_counts:
        counts = (len(data.train.classes), len(data.train), len(data.query))
        require_counts("CUB-200-2011", OFFICIAL, counts)
    return data


def _class_number(key: str, text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise ValueError(f"image {key} of CUB-200-2011 has class {text!r}; classes start at 1")
    return int(text)
