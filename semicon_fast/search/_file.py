"""The index file: a header of 128 bytes, the codes, the ids; little-endian, aligned to 64 bytes.

    offset  size  field
         0     8  magic b"SFHAMIDX"
         8     4  format version, 1
        12     4  size of this header, 128
        16     4  bits of a code
        20     1  bit order: 1 = least significant bit first (np.packbits bitorder="little")
        21     1  sign rule: 1 = a bit is x >= 0
        22     1  1 if ids follow the codes, 0 if code i has id i
        23     1  0
        24     8  number of codes
        32     8  id of the next code that is added without one
        40     8  offset of the codes: uint8, count * ceil(bits / 8)
        48     8  offset of the ids: int64, count, ascending; or the end of the file
        56     8  size of the file
        64     4  CRC-32 of everything after the header
        68    56  0
       124     4  CRC-32 of the 124 bytes before

The codes are in ascending order of id. The checksums detect accidental damage, not forgery.
"""

import os
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np

from ..codes import MAX_BITS, check_codes
from ..files import atomic_write

_MAGIC = b"SFHAMIDX"
_VERSION = 1
_HEADER = struct.Struct("<8sIIIBBBxQQQQQI56x")
SIZE = _HEADER.size + 4
_LITTLE, _NOT_NEGATIVE = 1, 1
_ALIGNMENT = 64
_PIECE = 1 << 24
# The kinds of files that begin alike: what they are, and what opens them.
_KINDS = {
    _MAGIC: ("a Hamming index", "HammingIndex.load"),
    b"SFMULTIX": ("a multi-index", "MultiIndex.load"),
}


@dataclass(frozen=True)
class Written:
    """An index file, and the header that it had when it was read.

    The header holds a checksum of everything else, so the file has the same content as long as it
    has the same header.
    """

    path: str
    header: bytes

    def is_unchanged(self) -> bool:
        """Whether there still is a file with this header at this path."""
        try:
            with open(self.path, "rb") as file:
                return file.read(SIZE) == self.header
        except OSError:
            return False


@dataclass(frozen=True)
class Content:
    """bits, codes uint8 (N, bytes), ids int64 (N,) ascending or None for 0..N - 1, the next id.

    file: where they were read from.
    """

    bits: int
    codes: np.ndarray
    ids: np.ndarray | None
    next_id: int
    file: Written | None = None


def aligned(offset: int) -> int:
    return -(-offset // _ALIGNMENT) * _ALIGNMENT


def _layout(bits: int, count: int, has_ids: bool) -> tuple[int, int, int]:
    """Offsets of codes and ids, and the size of the file."""
    ids = aligned(SIZE + count * ((bits + 7) // 8))
    return SIZE, ids, ids + 8 * count * has_ids


def write(path: str | os.PathLike[str], content: Content) -> None:
    """Writes a temporary file and renames it to `path`.

    Raises OSError, or TypeError if `path` is not a path.
    """
    check_path(path)
    count = len(content.codes)
    layout = _layout(content.bits, count, content.ids is not None)
    checksum = 0
    for piece in _pieces(content, layout[1] - layout[0]):
        checksum = zlib.crc32(piece, checksum)
    fields = (_MAGIC, _VERSION, SIZE, content.bits, _LITTLE, _NOT_NEGATIVE)
    has_ids = content.ids is not None
    header = _HEADER.pack(*fields, has_ids, count, content.next_id, *layout, checksum)
    with atomic_write(path) as file:
        file.write(header + struct.pack("<I", zlib.crc32(header)))
        for piece in _pieces(content, layout[1] - layout[0]):
            file.write(piece)


def check_path(path: object) -> None:
    """Raises TypeError unless `path` is a path: open() would accept an integer as a descriptor."""
    if not isinstance(path, (str, os.PathLike)):
        raise TypeError(f"path must be a string or a path, got {type(path).__name__}")


def _pieces(content: Content, codes_size: int) -> Iterator[memoryview | bytes]:
    """Everything after the header, in pieces: codes, zeros up to `codes_size` bytes, ids."""
    codes = np.ascontiguousarray(content.codes).reshape(-1)
    yield from views(codes)
    yield bytes(codes_size - codes.nbytes)
    if content.ids is not None:
        yield from views(np.ascontiguousarray(content.ids, dtype="<i8").view(np.uint8))


def views(array: np.ndarray) -> Iterator[memoryview]:
    for start in range(0, array.nbytes, _PIECE):
        yield array[start : start + _PIECE].data


def read(path: str | os.PathLike[str], *, verify: bool) -> Content:
    """Memory-maps the file read-only; reads and checks its codes and ids only if `verify`.

    Raises ValueError if the file is not an index, has a newer format, is truncated or damaged;
    OSError if it cannot be opened, TypeError if `path` is not a path.
    """
    check_path(path)
    # Everything through one descriptor: the path may be replaced by another file meanwhile.
    with open(path, "rb") as file:
        fields = _header(file, Path(path))
        if verify:
            check_content(file, fields[-1], Path(path))
        bits, has_ids, count, next_id, codes_at, ids_at = fields[:6]
        codes = mapped(file, codes_at, np.dtype(np.uint8), (count, (bits + 7) // 8))
        ids = mapped(file, ids_at, np.dtype("<i8"), (count,)) if has_ids else None
        file.seek(0)
        written = Written(os.path.abspath(path), file.read(SIZE))
    content = Content(bits, codes, ids, next_id, written)
    if verify:
        _check(content, Path(path))
    return content


def read_again(file: Written) -> Content:
    """The content of a file that was read before, perhaps by another process.

    Raises ValueError if the file is not there any more, or is another one.
    """
    try:
        content = read(file.path, verify=False)
    except (OSError, ValueError) as error:
        raise ValueError(
            f"the index was pickled as the name of its file, which cannot be opened: {error}"
        ) from error
    if content.file != file:
        raise ValueError(
            f"the index was pickled as the name of its file, {file.path}, which has other content "
            "now"
        )
    return content


def mapped(file: IO[bytes], offset: int, dtype: np.dtype, shape: tuple[int, ...]) -> np.ndarray:
    if shape[0] == 0:
        return np.empty(shape, dtype)
    # Read-only: a writable private mapping of a file larger than memory may be refused.
    return np.memmap(file, dtype, "r", offset, shape)


def read_header(file: IO[bytes], path: Path, magic: bytes, version: int) -> bytes:
    """The header of an index file that begins with `magic`, as its checksum has it.

    Raises ValueError for other kinds of files, newer formats and damaged headers.
    """
    raw = file.read(SIZE)
    if raw[:8] != magic:
        if (other := _KINDS.get(raw[:8])) is not None:
            raise ValueError(
                f"{path} is {other[0]}, not {_KINDS[magic][0]}: open it with {other[1]}"
            )
        raise ValueError(
            f"{path} is no {_KINDS[magic][0][2:]}: it does not begin with {magic.decode()!r}"
        )
    if len(raw) < SIZE:
        raise ValueError(f"{path} is cut short: {len(raw)} bytes, its header alone has {SIZE}")
    found = struct.unpack_from("<I", raw, 8)[0]
    if found > version:
        raise ValueError(
            f"{path} has format version {found}; this release reads up to {version}, "
            "a newer one is needed"
        )
    if struct.unpack_from("<I", raw, SIZE - 4)[0] != zlib.crc32(raw[: SIZE - 4]):
        raise ValueError(f"{path} is damaged: its header does not have the checksum it names")
    return raw


def _header(file: IO[bytes], path: Path) -> tuple[int, ...]:
    """bits, has_ids, count, next_id, offset of codes, offset of ids, checksum of the rest."""
    raw = read_header(file, path, _MAGIC, _VERSION)
    _, _, _, bits, order, sign, has_ids, count, next_id, *layout, checksum = _HEADER.unpack_from(
        raw
    )
    known = (order, sign) == (_LITTLE, _NOT_NEGATIVE) and has_ids in (0, 1) and next_id >= count
    if not (known and 1 <= bits <= MAX_BITS and tuple(layout) == _layout(bits, count, has_ids)):
        raise ValueError(f"{path} has a header that this release does not understand")
    size = os.fstat(file.fileno()).st_size
    if size != layout[2]:
        state = "cut short" if size < layout[2] else "longer than it should be"
        raise ValueError(f"{path} is {state}: {size} bytes, its header names {layout[2]}")
    return bits, has_ids, count, next_id, layout[0], layout[1], checksum


def _check(content: Content, path: Path) -> None:
    """Checks codes and ids of a file with valid checksums that another program may have written."""
    check_codes(content.codes, content.bits, f"{path}: its codes")
    ids = content.ids
    if ids is None or len(ids) == 0:
        return
    if ids[0] < 0 or ids[-1] >= content.next_id or (ids[1:] <= ids[:-1]).any():
        raise ValueError(
            f"{path} has ids that are not ascending from 0 to {content.next_id - 1}, the last one "
            "that it names"
        )


def check_content(file: IO[bytes], wanted: int, path: Path) -> None:
    checksum = 0
    file.seek(SIZE)
    while piece := file.read(_PIECE):
        checksum = zlib.crc32(piece, checksum)
    if checksum != wanted:
        raise ValueError(f"{path} is damaged: its content does not have the checksum it names")
