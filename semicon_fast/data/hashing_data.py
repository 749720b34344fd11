"""The training, query and database images of a retrieval experiment."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from ..arrays import as_positions
from .decode import BrokenFile, BrokenImageError
from .image_set import Files, ImageSet, Progress, map_in_threads
from .passed_over import BROKEN


@dataclass(frozen=True, eq=False)
class HashingData:
    """The image sets of a retrieval experiment.

    Attributes:
        name: the dataset's name.
        train: training images.
        query: query images.
        database: images that are searched.
        protocol: one sentence that describes the split and its counts.
        train_rows: int64 (len(train),), the row of each training image in `database`, -1 if it is
            not in the database.
        skipped: files that could not be decoded and were left out.
        passed_over: reason -> how many files, folders or links were left out, `skipped` included.
    """

    name: str
    train: ImageSet
    query: ImageSet
    database: ImageSet
    protocol: str
    train_rows: Tensor
    skipped: tuple[BrokenFile, ...] = ()
    passed_over: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        rows = self.train_rows
        if rows.dtype is not torch.int64 or rows.shape != (len(self.train),):
            raise ValueError(
                f"train_rows must be int64 ({len(self.train)},), got {rows.dtype} "
                f"{tuple(rows.shape)}"
            )
        if len(rows) and not -1 <= int(rows.min()) <= int(rows.max()) < len(self.database):
            raise ValueError(
                f"train_rows must lie in -1..{len(self.database) - 1}, "
                f"got {int(rows.min())}..{int(rows.max())}"
            )

    def cached(
        self, size: int | None = None, *, threads: int = 2, progress: Progress | None = None
    ) -> HashingData:
        """The same data decoded into memory; images shared by two sets are stored once.

        size, threads, progress: see `ImageSet.cached`; the progress restarts for each set.
        """
        database = self.database.cached(size, threads=threads, progress=progress)
        query = self.query.cached(size, threads=threads, progress=progress)
        if self.train is self.database:
            train = database
        elif len(self.train_rows) and bool((self.train_rows >= 0).all()):
            train = with_labels(database.subset(self.train_rows), self.train.labels)
        else:
            train = self.train.cached(size, threads=threads, progress=progress)
        return replace(self, train=train, query=query, database=database)

    def verify(self, *, threads: int = 2, progress: Progress | None = None) -> None:
        """Decode every file once and raise one BrokenImageError that names all broken files."""
        broken = find_broken([self.train, self.query, self.database], threads, progress)
        if broken:
            raise BrokenImageError.of(list(broken.values()))

    def without_broken(self, *, threads: int = 2, progress: Progress | None = None) -> HashingData:
        """Decode every file once; the result leaves out the broken ones and lists them in
        `skipped`. Raises BrokenImageError if one of the three sets would be empty."""
        broken = find_broken([self.train, self.query, self.database], threads, progress)
        if not broken:
            return self
        good = [
            _unbroken_rows(images, broken) for images in (self.train, self.query, self.database)
        ]
        if not all(len(rows) for rows in good):
            raise BrokenImageError.of(list(broken.values()))
        # New row of each old database row; the additional last element maps train_rows = -1 to -1.
        shift = torch.full((len(self.database) + 1,), -1)
        shift[good[2]] = torch.arange(len(good[2]))
        database = self.database.subset(good[2])
        train = database if self.train is self.database else self.train.subset(good[0])
        count = "1 broken image" if len(broken) == 1 else f"{len(broken)} broken images"
        query = self.query.subset(good[1])
        # The description without the counts, which have changed.
        description = f"{self.protocol.rpartition(': ')[0] or self.name}, {count} left out"
        return replace(
            self,
            train=train,
            query=query,
            database=database,
            protocol=describe(description, train, query, database),
            train_rows=shift[self.train_rows[good[0]]],
            skipped=self.skipped + tuple(broken.values()),
            passed_over={**self.passed_over, BROKEN: len(self.skipped) + len(broken)},
        )


def with_labels(images: ImageSet, labels: Tensor) -> ImageSet:
    """The same images with other labels."""
    return ImageSet(images.name, images.source, labels, images.classes, images.rows)


def split(
    name: str,
    pool: ImageSet,
    train: Any,
    query: Any,
    database: Any = None,
    *,
    description: str,
) -> HashingData:
    """HashingData from positions in one set of images.

    Args:
        name: the dataset's name.
        pool: all images.
        train: the training images, as `ImageSet.subset` takes them: positions in `pool`, or a mask.
        query: the queries, likewise.
        database: the database, likewise; None: the training images.
        description: short description of the split, to which `describe` adds the counts.

    Raises TypeError or ValueError as `ImageSet.subset`.
    """
    chosen = {
        name: as_positions(rows, name, len(pool))
        for name, rows in (("train", train), ("query", query), ("database", database))
        if rows is not None
    }
    query_set, train_set = pool.subset(chosen["query"]), pool.subset(chosen["train"])
    if database is None:
        database_set = train_set
        train_rows = torch.arange(len(train_set))
    else:
        database_set = pool.subset(chosen["database"])
        position = torch.full((len(pool),), -1)
        position[chosen["database"]] = torch.arange(len(database_set))
        train_rows = position[chosen["train"]]
    return HashingData(
        name=name,
        train=train_set,
        query=query_set,
        database=database_set,
        protocol=describe(description, train_set, query_set, database_set),
        train_rows=train_rows,
    )


def describe(description: str, train: ImageSet, query: ImageSet, database: ImageSet) -> str:
    """One sentence with the description `description` of the split and its counts."""
    learned = "the training images" if train is database else f"{len(train):,} training images"
    kind = "labels" if train.multi_label else "classes"
    return (
        f"{description}: {len(query):,} queries against {len(database):,} database images, "
        f"{learned}; {len(train.classes):,} {kind}."
    )


def find_broken(
    sets: Sequence[ImageSet], threads: int, progress: Progress | None
) -> dict[tuple[int, int], BrokenFile]:
    """Decode each file of the sets once; returns the broken ones by (id of the source, row)."""
    unique = {
        (id(images.source), row): images.source
        for images in sets
        if isinstance(images.source, Files)
        for row in images.rows.tolist()
    }
    keys = list(unique)

    def check(i: int) -> BrokenFile | None:
        try:
            unique[keys[i]].image(keys[i][1])
        except BrokenImageError as error:
            return error.broken[0]
        return None

    found = map_in_threads(check, len(keys), threads, progress)
    return {key: file for key, file in zip(keys, found, strict=True) if file is not None}


def _unbroken_rows(images: ImageSet, broken: dict[tuple[int, int], BrokenFile]) -> Tensor:
    source = id(images.source)
    rows = images.rows.tolist()
    return torch.tensor(
        [i for i, row in enumerate(rows) if (source, row) not in broken], dtype=torch.int64
    )
