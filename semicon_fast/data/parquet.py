"""Images, vectors and labels in Parquet files, as Hugging Face's data sets have them."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

LABEL_COLUMNS = ("label", "labels", "class")
# What Hugging Face writes for an image without a label, as in test sets.
NO_LABEL = -1


class Row(NamedTuple):
    """A row: its number in the file, its label, and its place (row group, row of the group)."""

    number: int
    label: str
    place: tuple[int, int]


def rows(file: str) -> Iterator[Row]:
    """The rows of a file, each with its label from a column "label", "labels" or "class".

    Integers are positions in Hugging Face's class names, where the file has them. null and -1 are
    images without a label, "".

    Raises:
        ValueError: the file is damaged, has no single column of images, a label that is not among
            the class names, or labels that are neither integers, text nor bool.
    """
    _image_column(file, open_file(file).schema_arrow)
    yield from _labelled(file)


def labels(file: str) -> list[str]:
    """The label of each row of a file, whatever else is in it; see `rows`."""
    return [row.label for row in _labelled(file)]


def _labelled(file: str) -> Iterator[Row]:
    opened = open_file(file)
    schema = opened.schema_arrow
    column = next((name for name in LABEL_COLUMNS if name in schema.names), None)
    if column is not None:
        _check_labels(file, column, schema.field(column).type)
    classes = _class_names(schema, column)
    number = 0
    for group in range(opened.num_row_groups):
        count = opened.metadata.row_group(group).num_rows
        values = [None] * count
        if column is not None:
            values = opened.read_row_group(group, [column])[column].to_pylist()
        for row, value in enumerate(values):
            yield Row(number, _label(file, number, value, classes), (group, row))
            number += 1


def list_columns(schema: Any) -> dict[str, tuple[str, bool]]:
    """Columns of lists: name -> what the lists hold, and whether that is floating point."""
    from pyarrow import types

    kinds = (types.is_list, types.is_large_list, types.is_fixed_size_list)
    found = {f.name: f.type.value_type for f in schema if any(kind(f.type) for kind in kinds)}
    return {name: (str(kind), types.is_floating(kind)) for name, kind in found.items()}


def vectors(path: str, name: str, rows: int) -> Iterator[np.ndarray]:
    """The lists of a column in order, (n, F), at most `rows` at a time.

    Raises ValueError, with the number of the row, for one that is missing, that has a missing
    value, or another length than the first.
    """
    start, width = 0, None
    for batch in open_file(path).iter_batches(rows, columns=[name]):
        column = batch.column(0)
        lengths = np.asarray(column.value_lengths().fill_null(-1))
        width = int(lengths[0]) if width is None and len(lengths) else width
        wrong = (lengths != width).nonzero()[0]
        if len(wrong) or (width is not None and width < 0):
            row = int(wrong[0]) if len(wrong) else 0
            got = int(lengths[row])
            raise ValueError(
                f"lists in the column {name!r} of {path} must be equally long; row {start + row} "
                + (f"has {got} values, row 0 has {width}" if got >= 0 else "has none")
            )
        values = column.flatten()
        if values.null_count:
            row = start + int(np.asarray(values.is_null()).argmax()) // (width or 1)
            raise ValueError(f"row {row} of {path}:{name} has a value that is missing")
        yield values.to_numpy(zero_copy_only=False).reshape(len(lengths), width or 0)
        start += len(lengths)


def content(file: str, group: int, row: int) -> bytes | None:
    """The bytes of the image in a row, None if the row has none. Raises OSError if there is no such
    row any more."""
    column = _images(file, group)
    if row >= len(column):
        raise OSError(f"{file} has changed: row {row} no longer exists")
    found: bytes | None = column[row].as_py()
    return found


def _label(file: str, number: int, value: Any, classes: list[str]) -> str:
    if value is None or (value == NO_LABEL and not isinstance(value, (bool, str))):
        return ""
    if not classes or isinstance(value, (bool, str)):
        return str(value)
    if not 0 <= value < len(classes):
        raise ValueError(
            f"{file} has the label {value} in row {number}; labels must be among its "
            f"{len(classes)} class names, 0 to {len(classes) - 1}, or {NO_LABEL} for none"
        )
    return classes[value]


def _check_labels(file: str, column: str, kind: Any) -> None:
    from pyarrow import types

    value = kind.value_type if types.is_dictionary(kind) else kind
    known = (
        types.is_integer, types.is_string, types.is_large_string, types.is_boolean, types.is_null,
    )  # fmt: skip
    if not any(is_kind(value) for is_kind in known):
        raise ValueError(
            f"labels in the column {column!r} of {file} must be integers, text or bool, got {kind}"
        )


def open_file(file: str) -> Any:
    """The file as pyarrow reads it. Raises ValueError without pyarrow, and for a damaged file."""
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise ValueError(
            f"{file} needs pyarrow, which is not installed: pip install 'semicon_fast[parquet]'"
        ) from None
    try:
        # pyarrow takes a path that is not UTF-8 only as bytes, and only here.
        return pyarrow.parquet.ParquetFile(pyarrow.memory_map(os.fsencode(file)))
    except (pyarrow.ArrowException, OSError) as error:
        raise ValueError(f"{file} is not a complete Parquet file: {error}") from error


def _class_names(schema: Any, label: str | None) -> list[str]:
    """Class names of the integers in the label column from Hugging Face's metadata, if any."""
    try:
        about = json.loads((schema.metadata or {})[b"huggingface"])
        return list(about["info"]["features"][label]["names"])
    except (KeyError, TypeError, ValueError):
        return []


@lru_cache(maxsize=1)
def _images(file: str, group: int) -> Any:
    """The column of image bytes of a row group; the last one is cached."""
    opened = open_file(file)
    column = _image_column(file, opened.schema_arrow)
    found = opened.read_row_group(group, [column])
    for name in column.split("."):
        found = found[name] if hasattr(found, "column_names") else _struct_field(found, name)
    return found


def _struct_field(column: Any, name: str) -> Any:
    import pyarrow.compute

    return pyarrow.compute.struct_field(column, name)


def _image_column(file: str, schema: Any) -> str:
    """Name of the column of image bytes, "column.bytes" in a struct. ValueError if ambiguous."""
    from pyarrow import types

    def binary(kind: Any) -> bool:
        return types.is_binary(kind) or types.is_large_binary(kind)

    found = [field.name for field in schema if binary(field.type)]
    for field in schema:
        if types.is_struct(field.type):
            inner = [child.name for child in field.type if binary(child.type)]
            found += [f"{field.name}.bytes"] if "bytes" in inner else []
    named = [name for name in found if name.partition(".")[0] in ("image", "img", "jpg")]
    chosen = named[:1] if named else found
    if len(chosen) != 1:
        raise ValueError(
            f'{file} must have one column of image bytes, or one named "image"; it has '
            f"{', '.join(found) or 'none'} among {', '.join(schema.names)}"
        )
    return chosen[0]
