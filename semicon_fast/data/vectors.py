"""Feature vectors from .npy, .npz, Parquet and safetensors files, block by block."""

from __future__ import annotations

import difflib
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import safe_open

from ..files import utf8_path
from . import parquet
from .vector_arrays import explained, npy_arrays, npz_arrays
from .vector_files import Place, place

FEATURES = ("features", "embeddings", "embedding", "vectors", "vector")
NAMES = ("names", "name", "ids", "id", "file_name", "path")
# Values of a block, unless a number of rows is asked for.
_VALUES = 1 << 22


@dataclass(frozen=True)
class Vectors:
    """Feature vectors (N, F) in a file, with the names and labels that belong to them.

    Attributes:
        place: the file, and the array in it.
        shape: (N, F).
        names: N texts; of a file without names, the numbers of the rows.
        labels: N class names, "" where there is none; None if the file has no labels. Several
            classes of one row are "0 1 0", as in lists of images.
    """

    place: Place
    shape: tuple[int, int]
    names: list[str]
    labels: list[str] | None
    _read: Callable[[int], Iterator[np.ndarray]]
    _mapped: np.ndarray | None = None

    def __len__(self) -> int:
        return self.shape[0]

    def replaced(self, *, labels: list[str] | None, names: list[str] | None) -> Vectors:
        """The same vectors with other labels and names, one a row; None keeps them.

        Raises ValueError for another number of them.
        """
        check_count("labels", labels, len(self), self.place)
        check_count("names", names, len(self), self.place)
        known = self.labels if labels is None else labels
        return replace(self, labels=known, names=self.names if names is None else names)

    def blocks(self, rows: int | None = None) -> Iterator[np.ndarray]:
        """The vectors in order, floating (n, F), `rows` at a time; None: 16 MiB of float32.

        Raises ValueError for NaN and infinity, with the number of the row.
        """
        start = 0
        for block in self._read(rows or max(1, _VALUES // max(1, self.shape[1]))):
            bad = ~np.isfinite(block).all(axis=1)
            if bad.any():
                row = start + int(bad.argmax())
                raise ValueError(f"row {row} of {self.place} holds NaN or infinity")
            yield block
            start += len(block)

    def array(self) -> np.ndarray:
        """All vectors, floating (N, F): memory-mapped if the file allows it, else in memory.

        Raises as `blocks`.
        """
        if self._mapped is not None:
            for _ in self.blocks():
                pass
            return self._mapped
        whole: np.ndarray | None = None
        start = 0
        for block in self.blocks():
            if whole is None:
                whole = np.empty(self.shape, block.dtype)
            whole[start : start + len(block)] = block
            start += len(block)
        return np.empty(self.shape, np.float32) if whole is None else whole


def open_vectors(path: str | os.PathLike[str] | Place) -> Vectors:
    """Opens a file of feature vectors; only names, labels and shape are read.

    Args:
        path: FILE, or FILE:NAME for one array or column of several. Without a name it is the one
            called "features" or "embeddings", or the only one that can be meant.
            .npy and safetensors files, and arrays that an .npz file holds uncompressed, are
            memory-mapped. Names are in an array or column "names", "ids" or the like, labels in
            "labels", "label" or "class"; class names of Hugging Face's are known, and -1 is no
            label.

    Raises ValueError for a file that does not exist or is damaged, names that it does not have, and
    arrays that are not floating (N, F).
    """
    where = path if isinstance(path, Place) else place(path)
    return _READERS[where.path.suffix.lower()](where)


def read_labels(path: str | os.PathLike[str]) -> list[str]:
    """Labels, one a row, as `read_names` reads names; an empty one and -1 mean none, ""."""
    return _as_labels(read_names(path))


def read_names(path: str | os.PathLike[str]) -> list[str]:
    """Names, one a row: from lines of text, or from an .npy array or FILE.npz:NAME.

    Integers and texts (N,) are taken as text, bool (N, C) as "0 1 0". Raises ValueError for other
    arrays and unreadable files.
    """
    if Path(path).suffix.lower() == ".txt":
        try:
            lines = Path(path).read_text("utf-8-sig", "surrogateescape").split("\n")
        except OSError as error:
            raise ValueError(f"{path} could not be read: {error.strerror}") from error
        lines = lines[:-1] if lines[-1] == "" else lines
        return [line.strip(" \t\r") for line in lines]
    where = place(path)
    arrays = {".npy": npy_arrays, ".npz": npz_arrays}.get(where.path.suffix.lower())
    if arrays is None:
        raise ValueError(f"{path} must be a list of labels or names: .txt, .npy or .npz:NAME")
    found = arrays(where.path)
    name = _chosen(where, list(found), ("labels", "label", "names", "name"))
    return _texts(found[name](), str(where))


def _npy(where: Place) -> Vectors:
    return _of_array(where, npy_arrays(where.path)[""](), None, None)


def _npz(where: Place) -> Vectors:
    arrays = npz_arrays(where.path)
    name = _chosen(where, list(arrays), FEATURES, lambda n: arrays[n]().ndim == 2)
    names, labels = (_first(arrays, known) for known in (NAMES, parquet.LABEL_COLUMNS))
    return _of_array(where, arrays[name](), names, labels)


def _safetensors(where: Place) -> Vectors:
    import torch

    with explained(where.path, "safetensors file"), utf8_path(where.path) as path:
        file = safe_open(path, "pt")
        with file:
            shapes = {key: file.get_slice(key).get_shape() for key in file.keys()}  # noqa: SIM118
            name = _chosen(where, list(shapes), FEATURES, lambda n: len(shapes[n]) == 2)
            tensor = file.get_tensor(name)
            others = {key: file.get_tensor for key in shapes if key != name}
            names, labels = (
                next((others[key](key).numpy() for key in known if key in others), None)
                for known in (NAMES, parquet.LABEL_COLUMNS)
            )
    # NumPy has no bfloat16.
    values = tensor.float() if tensor.dtype is torch.bfloat16 else tensor
    return _of_array(where, values.numpy(), names, labels)


def _parquet(where: Place) -> Vectors:
    path = os.fspath(where.path)
    opened = parquet.open_file(path)
    known = list(opened.schema_arrow.names)
    lists = parquet.list_columns(opened.schema_arrow)
    name = _chosen(where, known, FEATURES, lambda n: n in lists)
    if name not in lists:
        kind = opened.schema_arrow.field(name).type
        raise ValueError(f"column {name!r} of {path} must hold lists, got {kind}")
    _check_kind(Place(where.path, name), *lists[name])
    count = opened.metadata.num_rows
    first = next(parquet.vectors(path, name, 1), np.empty((0, 0), np.float32))
    named = next((n for n in NAMES if n in known), None)
    names = None if named is None else opened.read([named])[named].to_pylist()
    labels = None
    if any(column in known for column in parquet.LABEL_COLUMNS):
        labels = parquet.labels(path)
    return _vectors(
        where,
        (count, first.shape[1]),
        None if names is None else ["" if n is None else str(n) for n in names],
        labels,
        lambda rows: parquet.vectors(path, name, rows),
    )


_READERS: dict[str, Callable[[Place], Vectors]] = {
    ".npy": _npy,
    ".npz": _npz,
    ".parquet": _parquet,
    ".safetensors": _safetensors,
}


def _of_array(where: Place, array: np.ndarray, names: Any, labels: Any) -> Vectors:
    """Vectors of an array, whose blocks are copied out of it, aligned and in native byte order."""
    if array.ndim != 2:
        raise ValueError(f"{where} must be (N, F), a vector a row, got {array.shape}")
    _check_kind(where, str(array.dtype), array.dtype.kind == "f")

    def read(rows: int) -> Iterator[np.ndarray]:
        for start in range(0, len(array), rows):
            block = array[start : start + rows]
            yield np.array(block, block.dtype.newbyteorder("="), order="C")

    return _vectors(
        where,
        (len(array), array.shape[1]),
        None if names is None else _texts(names, f"the names of {where}"),
        None if labels is None else _as_labels(_texts(labels, f"the labels of {where}")),
        read,
        array if array.flags.aligned and array.dtype.isnative else None,
    )


def _vectors(
    where: Place,
    shape: tuple[int, int],
    names: list[str] | None,
    labels: list[str] | None,
    read: Callable[[int], Iterator[np.ndarray]],
    mapped: np.ndarray | None = None,
) -> Vectors:
    names = list(map(str, range(shape[0]))) if names is None else names
    check_count("names", names, shape[0], where)
    check_count("labels", labels, shape[0], where)
    return Vectors(where, shape, names, labels, read, mapped)


def held_out(rows: np.ndarray, count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """`count` rows of a random choice, fewer than there are, and the others, both in order."""
    chosen = np.zeros(len(rows), bool)
    chosen[np.random.default_rng(seed).choice(len(rows), count, replace=False)] = True
    return rows[chosen], rows[~chosen]


def check_count(what: str, given: Sequence[str] | None, count: int, where: Place) -> None:
    """Raises ValueError unless there are as many names or labels as rows; None is any number."""
    if given is not None and len(given) != count:
        raise ValueError(f"{what} must be {count:,}, one a row of {where}, got {len(given):,}")


def _check_kind(where: Place, kind: str, real: bool) -> None:
    if not real:
        raise ValueError(f"{where} must be floating point, got {kind}")


def _first(arrays: dict[str, Callable[[], np.ndarray]], known: Sequence[str]) -> np.ndarray | None:
    return next((arrays[name]() for name in known if name in arrays), None)


def _chosen(
    where: Place,
    names: list[str],
    usual: Sequence[str],
    fits: Callable[[str], bool] = lambda name: True,
) -> str:
    """The array that is named, else the first of the usual names, else the only one that fits."""
    if where.name is not None:
        if where.name not in names:
            near = difflib.get_close_matches(where.name, names, 1) or names
            has = f"did you mean {near[0]}?" if near is not names else f"it has {', '.join(names)}"
            raise ValueError(f"{where.path} has no {where.name!r}; {has}")
        return where.name
    if found := [name for name in usual if name in names]:
        return found[0]
    fitting = [name for name in names if fits(name)]
    if len(fitting) != 1:
        among = ", ".join(fitting or names) or "nothing"
        reason = "say which array is meant" if fitting else "it has none of a vector a row"
        raise ValueError(
            f"{where.path} must hold one array of vectors, or be given as {where.path.name}:NAME; "
            f"{reason}, among {among}"
        )
    return fitting[0]


def _texts(values: np.ndarray, what: str) -> list[str]:
    if values.ndim == 2 and values.dtype.kind == "b":
        return [" ".join("1" if one else "0" for one in row) for row in values]
    if values.ndim != 1 or values.dtype.kind not in "iuUS":
        raise ValueError(
            f"{what} must be integers or texts (N,), or bool (N, C), "
            f"got {values.dtype} {values.shape}"
        )
    if values.dtype.kind == "S":
        return [value.decode("utf-8", "surrogateescape") for value in values.tolist()]
    return [str(value) for value in values.tolist()]


def _as_labels(texts: list[str]) -> list[str]:
    return ["" if text == str(parquet.NO_LABEL) else text for text in texts]
