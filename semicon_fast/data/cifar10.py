"""CIFAR-10 from the official binary version or image folders, with four split protocols."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from .folder import counted, labelled_images, numbered, with_counts
from .hashing_data import HashingData
from .hashing_data import split as split_pool
from .image_set import ImageSet, Memory
from .passed_over import PassedOver
from .readers import file_set, find_root, require_counts
from .seeds import generator

CLASSES = (
    *("airplane", "automobile", "bird", "cat", "deer"),
    *("dog", "frog", "horse", "ship", "truck"),
)
PROTOCOLS = ("paper", "cifar10", "cifar10-1", "cifar10-2")
OFFICIAL = {"training images": 50_000, "test images": 10_000}
TRAIN_FILES = tuple(f"data_batch_{i}.bin" for i in range(1, 6))
TEST_FILE = "test_batch.bin"
# Bytes of one image in the binary version: the label, then the pixels (3, 32, 32).
RECORD = 1 + 3 * 32 * 32


class Split(NamedTuple):
    """int64 positions among all images, in which the official training images come first."""

    train: Tensor
    query: Tensor
    database: Tensor


def load(
    root: str | os.PathLike[str],
    *,
    protocol: str = "paper",
    seed: int = 0,
    check_counts: bool = True,
) -> HashingData:
    """CIFAR-10 from root/data_batch_*.bin (binary version) or root/{train,test}/<class>/*.

    The binary version is read into memory (184 MB). Image files are decoded at each access;
    `HashingData.cached` keeps the decoded pixels.

    Args:
        root: the dataset's folder, or the folder that contains cifar-10-batches-bin.
        protocol: one of `PROTOCOLS`, see `split`.
        seed: seed of the random protocols, see `split`.
        check_counts: whether to require 50,000 training and 10,000 test images.

    Raises:
        ValueError: an unknown protocol, or files that do not match the layout or the counts.
    """
    if protocol not in PROTOCOLS:
        raise ValueError(f"protocol must be one of {', '.join(PROTOCOLS)}, got {protocol!r}")
    base = find_root(root)
    nested, passed = base / "cifar-10-batches-bin", PassedOver()
    if (nested / TEST_FILE).exists() or (base / TEST_FILE).exists():
        pool, official = _read_binary(nested if (nested / TEST_FILE).exists() else base)
    elif (base / "train").is_dir() and (base / "test").is_dir():
        pool, official = _read_folders(base, passed)
    elif any((base / name).exists() for name in ("cifar-10-batches-py", "data_batch_1")):
        raise ValueError(
            f"{base} has the python version of CIFAR-10, which is not supported because it is "
            "pickled; use the binary version (cifar-10-batches-bin)"
        )
    else:
        raise ValueError(
            f"{base} has neither {TEST_FILE} of the binary version of CIFAR-10 "
            "nor image folders train/ and test/"
        )
    if check_counts:
        require_counts("CIFAR-10", OFFICIAL, (official, len(pool) - official))
    rows = split(pool.labels, official, protocol, seed)
    description = f"CIFAR-10, protocol {protocol}"
    if protocol in ("cifar10", "cifar10-1"):
        description += f" drawn by seed {seed}"
    together = rows.train is rows.database
    data = split_pool(
        "cifar10",
        pool,
        rows.train,
        rows.query,
        None if together else rows.database,
        description=counted(description, passed),
    )
    return with_counts(data, passed)


def split(
    labels: Tensor,
    official: int,
    protocol: str,
    seed: int,
    query_per_class: int = 100,
    train_per_class: int = 500,
) -> Split:
    """The training, query and database rows of one protocol, each in ascending order.

    "paper" (DSH) and "cifar10-2": the official training images are training set and database,
    the official test images the queries. "cifar10" and "cifar10-1": all N images of each class are
    shuffled with a generator seeded by (seed, class); the first 100 are queries and the next 500
    training images. The database is the rest ("cifar10", 54,000 images) or the rest and the
    training images ("cifar10-1", 59,000 images).

    Args:
        labels: int64 (N,), the official training images first.
        official: number of official training images.
        protocol: one of `PROTOCOLS`.
        seed: seed of "cifar10" and "cifar10-1".
        query_per_class: queries per class of "cifar10" and "cifar10-1".
        train_per_class: training images per class of "cifar10" and "cifar10-1".

    Raises:
        ValueError: a class has too few images for the protocol.
    """
    if protocol in ("paper", "cifar10-2"):
        train = torch.arange(official)
        return Split(train, torch.arange(official, len(labels)), train)
    query = torch.zeros(len(labels), dtype=torch.bool)
    train = torch.zeros(len(labels), dtype=torch.bool)
    for label in range(int(labels.max()) + 1):
        rows = (labels == label).nonzero()[:, 0]
        if len(rows) <= query_per_class + train_per_class:
            raise ValueError(
                f"protocol {protocol} needs more than {query_per_class + train_per_class} images "
                f"of each class, class {label} has {len(rows)}"
            )
        order = torch.randperm(len(rows), generator=generator("cifar10", seed, label))
        query[rows[order[:query_per_class]]] = True
        train[rows[order[query_per_class : query_per_class + train_per_class]]] = True
    database = ~query if protocol == "cifar10-1" else ~(query | train)
    return Split(*(mask.nonzero()[:, 0] for mask in (train, query, database)))


def _read_binary(base: Path) -> tuple[ImageSet, int]:
    """All images, and how many of them are official training images (which come first)."""
    pixels: list[np.ndarray] = []
    labels: list[np.ndarray] = []
    names: list[str] = []
    official = 0
    for file in (*TRAIN_FILES, TEST_FILE):
        if not (base / file).exists():
            raise ValueError(f"there is no file {base / file}")
        size = (base / file).stat().st_size
        if size == 0 or size % RECORD:
            raise ValueError(
                f"{base / file} must be records of {RECORD} bytes, its size is {size} bytes"
            )
        records = np.fromfile(base / file, dtype=np.uint8).reshape(-1, RECORD)
        if records[:, 0].max() >= len(CLASSES):
            raise ValueError(
                f"{base / file} has a label {records[:, 0].max()}, labels must lie in 0..9"
            )
        labels.append(records[:, 0].astype(np.int64))
        pixels.append(records[:, 1:])
        names += [f"{file}#{row}" for row in range(len(records))]
        if file != TEST_FILE:
            official += len(records)
    images = torch.from_numpy(np.concatenate(pixels)).reshape(-1, 3, 32, 32)
    targets = torch.from_numpy(np.concatenate(labels))
    return ImageSet("cifar10", Memory(images, names, None), targets, CLASSES), official


def _read_folders(base: Path, passed: PassedOver) -> tuple[ImageSet, int]:
    """All images of train/ and test/, and how many of them are in train/ (which come first)."""
    images = labelled_images(base, passed, ("train", "test"))
    for part in ("train", "test"):
        found = {label for label, path in images if path.startswith(f"{part}/")}
        if found != set(CLASSES):
            raise ValueError(
                f"{base / part} must have the class folders {', '.join(CLASSES)} with images, "
                f"found {', '.join(sorted(found)) or 'none'}"
            )
    pairs = numbered(images, CLASSES, base)
    official = sum(path.startswith("train/") for path, _ in pairs)
    return file_set("cifar10", base, pairs, CLASSES), official
