"""Datasets by name. The module of a dataset is imported when it is loaded."""

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
    """Load a dataset by name from its official layout below `root`.

    Args:
        name: one of `DATASETS`.
        root: the dataset's folder; None for the generated dataset "birdlets".
        on_broken: "error": an image that cannot be decoded raises BrokenImageError when it is
            read. "skip": every file is decoded now, and broken ones are left out and listed in
            `HashingData.skipped`.
        verify: with "error", decode every file now and raise one BrokenImageError for all broken
            files.
        threads: threads of the pass that decodes every file.
        progress: called as progress(done, total) during that pass.
        options: keyword arguments of the dataset's own `load`, such as check_counts=False, which
            accepts copies of official datasets with other than the official counts.

    Raises:
        ValueError: an unknown name or option, missing files, or files that do not match the
            layout.
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
    """Raises ValueError if listed files are missing. Lists each folder once, so that there is no
    system call per file."""
    from .image_set import Files

    listed: dict[str, set[str]] = {}
    missing: dict[str, None] = {}
    for images in (data.train, data.query, data.database):
        if not isinstance(images.source, Files):
            continue
        root = os.fspath(images.source.root)
        for row in images.rows.tolist():
            folder, name = os.path.split(os.path.join(root, images.source.paths[row]))
            if folder not in listed:
                listed[folder] = set(os.listdir(folder)) if os.path.isdir(folder) else set()
            if name not in listed[folder]:
                missing[os.path.join(folder, name)] = None
    if missing:
        first = next(iter(missing))
        raise ValueError(
            f"{len(missing):,} listed images of {data.name} are missing, first {first}"
        )
