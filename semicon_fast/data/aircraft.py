"""FGVC-Aircraft with the 100 variants as classes."""

from __future__ import annotations

import os

from .hashing_data import HashingData
from .readers import find_root, listed_split, read_lines, read_pairs, require_counts

OFFICIAL = {"classes": 100, "training images": 6_667, "test images": 3_333}


def load(root: str | os.PathLike[str], *, check_counts: bool = True) -> HashingData:
    """FGVC-Aircraft from root (or root/fgvc-aircraft-2013b): data/{variants.txt,
    images_variant_trainval.txt, images_variant_test.txt, images/<7 digits>.jpg}.

    trainval is the database, test the queries. A label is the line number in variants.txt, counted
    from 0. The copyright banner at the bottom of each image is kept, as in the released code.

    Raises:
        ValueError: the files are not in this layout or, with check_counts, the counts are not
            those of `OFFICIAL`.
    """
    base = find_root(root, "data/variants.txt", ["fgvc-aircraft-2013b"]) / "data"
    variants = read_lines(base / "variants.txt")
    label = {name: number for number, name in enumerate(variants)}
    parts = []
    for part in ("trainval", "test"):
        listed = base / f"images_variant_{part}.txt"
        pairs = read_pairs(listed)
        if unknown := [name for name in pairs.values() if name not in label]:
            raise ValueError(f"{listed} names a variant {unknown[0]!r} that is not in variants.txt")
        parts.append([(f"images/{key}.jpg", label[name]) for key, name in pairs.items()])
    if check_counts:
        counts = (len(variants), len(parts[0]), len(parts[1]))
        require_counts("FGVC-Aircraft", OFFICIAL, counts)
    description = "FGVC-Aircraft, trainval as database, test as queries"
    return listed_split("aircraft", base, parts[0], parts[1], variants, description)
