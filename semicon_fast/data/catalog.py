"""Lists the images to encode in files, folders, text lists, tar shards and Parquet files."""

from __future__ import annotations

import json
import os
import posixpath
import tarfile
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor

from .decode import BrokenFile, BrokenImageError, decode, decode_bytes
from .folder import SUFFIXES
from .readers import read_lines

SHARD_SUFFIXES = {".tar", ".parquet"}
COMPRESSED_SUFFIXES = (".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar.zst")
# Extension of a sample's label file in WebDataset: the file's name after the first dot.
LABEL_EXTENSION = "cls"
MAX_LABEL_BYTES = 2**20


class Entry(NamedTuple):
    """One image to encode.

    name: the image's name in the gallery. label: its class name, or "". file: the file that
    contains it. place: where in the file: () the whole file, (offset, length) in bytes in a tar
    file, (row group, row) in a Parquet file.
    """

    name: str
    label: str
    file: str
    place: tuple[int, ...] = ()

    def image(self) -> Tensor:
        """The decoded image, uint8 (3, H, W) RGB. Raises BrokenImageError with the name."""
        if not self.place:
            return decode(self.file)
        try:
            return decode_bytes(self._content())
        except BrokenImageError as error:
            broken = [BrokenFile(self.name, file.cause) for file in error.broken]
            raise BrokenImageError.of(broken) from error

    def _content(self) -> bytes:
        first, second = self.place
        try:
            if self.file.lower().endswith(".parquet"):
                group = _row_group(self.file, first)
                if second >= len(group):
                    raise OSError(f"{self.file} has changed: row {second} no longer exists")
                return group[second].as_py() or b""
            with open(self.file, "rb") as file:
                file.seek(first)
                return file.read(second)
        except OSError as error:
            raise BrokenImageError.of([BrokenFile(self.name, str(error))]) from error


def list_images(paths: Sequence[str | os.PathLike[str]]) -> Iterator[Entry]:
    """The images of each path, in order, as a stream that is never in memory as a whole.

    A path can be
    - a folder: all images below it, sorted by path, labelled by the name of their folder; if there
      are none, the shards (.tar, .parquet) below it;
    - a .txt file: one path per line, relative to the list's folder, optionally followed by numbers
      as in `lists`, which become the label;
    - a .tar file: every image in it, labelled by the text of the sample's .cls file (WebDataset) or
      else by its folder;
    - a .parquet file: the column of image bytes, or of {bytes, path} structs (Hugging Face), with
      the label from a column "label", "labels" or "class";
    - any other file: one image.

    Raises:
        ValueError: when the stream reaches a path that does not exist, contains no image or is
            damaged.
    """
    for given in map(Path, paths):
        found = _in_folder(given) if given.is_dir() else _in_file(given)
        empty = True
        for entry in found:
            empty = False
            yield entry
        if empty:
            looked = ", ".join(sorted(SUFFIXES | SHARD_SUFFIXES))
            raise ValueError(f"no image below {given} (looked for {looked})")


def _in_folder(folder: Path) -> Iterator[Entry]:
    empty = True
    for path in _walk(folder, SUFFIXES):
        empty = False
        yield _file_entry(path)
    if empty:
        for path in _walk(folder, SHARD_SUFFIXES):
            yield from _in_file(path)


def _walk(folder: Path, suffixes: set[str]) -> Iterator[Path]:
    """Files below the folder with these suffixes, in the order of their sorted paths; only the
    folders on the current path are in memory."""
    with os.scandir(folder) as found:
        children = sorted((child.name, child.is_dir(follow_symlinks=False)) for child in found)
    for name, is_folder in children:
        if is_folder:
            yield from _walk(folder / name, suffixes)
        elif os.path.splitext(name)[1].lower() in suffixes:
            yield folder / name


def _in_file(path: Path) -> Iterator[Entry]:
    name = path.name.lower()
    if not path.is_file():
        raise ValueError(f"{path} does not exist")
    if name.endswith(COMPRESSED_SUFFIXES):
        raise ValueError(
            f"{path} is compressed, which prevents random access to its images; decompress it first"
        )
    kinds = {".tar": _tar, ".parquet": _parquet, ".txt": _text_list}
    yield from kinds.get(os.path.splitext(name)[1], _single_image)(path)


def _single_image(path: Path) -> Iterator[Entry]:
    yield _file_entry(path)


def _file_entry(path: Path, label: str | None = None) -> Entry:
    real = os.path.realpath(path)
    return Entry(real, path.parent.name if label is None else label, real)


def _text_list(path: Path) -> Iterator[Entry]:
    from .lists import LINE

    for line in read_lines(path):
        found = LINE.fullmatch(line)
        name, label = (found["path"], found["labels"].strip()) if found else (line, None)
        if found and not (path.parent / name).exists() and (path.parent / line).exists():
            name, label = line, None  # the numbers belong to the file's name
        yield _file_entry(path.parent / name, label)


def _tar(path: Path) -> Iterator[Entry]:
    """Reads only the headers and the content of label files."""
    real = os.path.realpath(path)
    try:
        with tarfile.open(real, "r:") as tar:
            for sample in _webdataset_samples(tar):
                yield from _sample_entries(real, tar, sample)
    except (tarfile.TarError, OSError) as error:
        raise ValueError(f"{path} is not a complete tar file: {error}") from error


def _webdataset_samples(tar: tarfile.TarFile) -> Iterator[list[tarfile.TarInfo]]:
    """WebDataset samples: consecutive files with the same path up to the first dot of the name."""
    sample: list[tarfile.TarInfo] = []
    for member in _members(tar):
        if sample and _sample_key(member.name) != _sample_key(sample[0].name):
            yield sample
            sample = []
        sample.append(member)
    if sample:
        yield sample


def _members(tar: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    while (member := tar.next()) is not None:
        # tarfile keeps a list of all members it has read; clear it to bound memory.
        tar.members.clear()  # type: ignore[attr-defined]
        if member.isreg() and not member.issparse():
            yield member


def _sample_key(name: str) -> str:
    folder, base = posixpath.split(name)
    return posixpath.join(folder, base.partition(".")[0])


def _sample_entries(
    file: str, tar: tarfile.TarFile, sample: Iterable[tarfile.TarInfo]
) -> Iterator[Entry]:
    label, images = None, []
    for member in sample:
        extension = posixpath.basename(member.name).partition(".")[2].lower()
        if posixpath.splitext(member.name)[1].lower() in SUFFIXES:
            images.append(member)
        elif extension == LABEL_EXTENSION and member.size <= MAX_LABEL_BYTES:
            content = tar.extractfile(member)
            assert content is not None
            label = content.read().decode("utf-8", "surrogateescape").strip()
    for member in images:
        name = member.name.removeprefix("./")
        folder = posixpath.basename(posixpath.dirname(name))
        place = member.offset_data, member.size
        yield Entry(f"{file}/{name}", folder if label is None else label, file, place)


def _parquet(path: Path) -> Iterator[Entry]:
    real = os.path.realpath(path)
    opened = _open_parquet(real)
    _image_column(real, opened.schema_arrow)
    names = opened.schema_arrow.names
    label = next((name for name in ("label", "labels", "class") if name in names), None)
    class_names = _class_names(opened, label)
    number = 0
    for group in range(opened.num_row_groups):
        rows = opened.metadata.row_group(group).num_rows
        labels = opened.read_row_group(group, [label])[label].to_pylist() if label else [""] * rows
        for row in range(rows):
            value = labels[row]
            text = (
                class_names[value] if isinstance(value, int) and value < len(class_names) else value
            )
            yield Entry(f"{real}#{number}", "" if text is None else str(text), real, (group, row))
            number += 1


def _open_parquet(file: str) -> Any:
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


def _class_names(opened: Any, label: str | None) -> list[str]:
    """Class names of the integers in the label column from Hugging Face's metadata, if any."""
    try:
        about = json.loads((opened.schema_arrow.metadata or {})[b"huggingface"])
        return list(about["info"]["features"][label]["names"])
    except (KeyError, TypeError, ValueError):
        return []


@lru_cache(maxsize=1)
def _row_group(file: str, group: int) -> Any:
    """The column of image bytes of a row group; the last one is cached."""
    opened = _open_parquet(file)
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
