"""Data sets by name. The module of a data set is imported when it is loaded."""

from __future__ import annotations

import inspect
import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

from .roots import existing_folder

if TYPE_CHECKING:
    from .hashing_data import HashingData
    from .image_set import Progress

# Each is a module of this package with a function `load`.
_MODULES = {
    "cub": "cub",
    "aircraft": "aircraft",
    "food101": "food101",
    "nabirds": "nabirds",
    "vegfru": "vegfru",
    "cifar10": "cifar10",
    "folder": "folder",
    "list": "lists",
    "birdlets": "birdlets",
}
DATASETS = tuple(_MODULES)
# Those that are generated, and so need no root.
GENERATED = ("birdlets",)


def check_root(name: str, root: str | os.PathLike[str] | None) -> None:
    """Raises ValueError for an unknown data set, or one whose root is missing or no folder."""
    _check_name(name)
    if name in GENERATED:
        return
    if root is None:
        raise ValueError(f"data set {name} needs root, the folder it was unpacked to")
    existing_folder(root)


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
    _check_name(name)
    if on_broken not in ("error", "skip"):
        raise ValueError(f'on_broken must be "error" or "skip", got {on_broken!r}')
    loader = import_module(f".{_MODULES[name]}", __package__).load
    known = [key for key in inspect.signature(loader).parameters if key != "root"]
    if unknown := sorted(set(options) - set(known)):
        raise ValueError(
            f"options of {name} are {', '.join(known) or 'none'}, got {', '.join(unknown)}"
        )
    check_root(name, root)
    data: HashingData = loader(root, **options)
    if on_broken == "skip":
        return data.without_broken(threads=threads, progress=progress)
    _check_files(data)
    if verify:
        data.verify(threads=threads, progress=progress)
    return data


def _check_name(name: str) -> None:
    if name not in DATASETS:
        raise ValueError(f"name must be one of {', '.join(DATASETS)}, got {name!r}")


def _check_files(data: HashingData) -> None:
    """Raises ValueError when listed files are missing; one look at each folder, not each file."""
    from .image_set import Files

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
