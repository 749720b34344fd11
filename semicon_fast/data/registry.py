"""Data sets by name."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable
from typing import Any

from . import aircraft, birdlets, cifar10, cub, folder, food101, lists, nabirds, vegfru
from .hashing_data import HashingData
from .image_set import Files, Progress

_LOADERS: dict[str, Callable[..., HashingData]] = {
    "cub": cub.load,
    "aircraft": aircraft.load,
    "food101": food101.load,
    "nabirds": nabirds.load,
    "vegfru": vegfru.load,
    "cifar10": cifar10.load,
    "folder": folder.load,
    "list": lists.load,
    "birdlets": birdlets.load,
}
DATASETS = tuple(_LOADERS)


def load(
    name: str,
    root: str | os.PathLike[str] | None = None,
    *,
    on_broken: str = "error",
    verify: bool = False,
    threads: int = 2,
    progress: Progress | None = None,
    **options: Any,
) -> HashingData:
    """A data set by name from its official layout below `root` (None for generated ones).

    on_broken: "error" leaves broken images to raise BrokenImageError where they are decoded, or
    with verify=True decodes every file now and raises one error that names all broken ones;
    "skip" decodes every file now and leaves the broken ones out, listed in `skipped`.
    threads, progress(done, total): of that pass. options: those of the data set's own `load`,
    check_counts=False among them, which takes official data sets of other than official size.
    Raises ValueError for everything that is not as the layout says.
    """
    if name not in _LOADERS:
        raise ValueError(f"name must be one of {', '.join(DATASETS)}, got {name!r}")
    if on_broken not in ("error", "skip"):
        raise ValueError(f'on_broken must be "error" or "skip", got {on_broken!r}')
    loader = _LOADERS[name]
    known = [key for key in inspect.signature(loader).parameters if key != "root"]
    if unknown := sorted(set(options) - set(known)):
        raise ValueError(
            f"options of {name} are {', '.join(known) or 'none'}, got {', '.join(unknown)}"
        )
    if root is None and name != "birdlets":
        raise ValueError(f"data set {name} needs root, the folder it was unpacked to")
    data = loader(root, **options)
    if on_broken == "skip":
        return data.without_broken(threads=threads, progress=progress)
    _check_files(data)
    if verify:
        data.verify(threads=threads, progress=progress)
    return data


def _check_files(data: HashingData) -> None:
    """Raises ValueError when listed files are missing; one look at each folder, not each file."""
    listed: dict[str, set[str]] = {}
    missing: dict[str, None] = {}
    for images in (data.train, data.query, data.database):
        if not isinstance(images.source, Files):
            continue
        for row in images.rows.tolist():
            folder, name = os.path.split(images.source.root / images.source.paths[row])
            if folder not in listed:
                listed[folder] = set(os.listdir(folder)) if os.path.isdir(folder) else set()
            if name not in listed[folder]:
                missing[os.path.join(folder, name)] = None
    if missing:
        first = next(iter(missing))
        raise ValueError(
            f"{len(missing):,} listed images of {data.name} are missing, first {first}"
        )
