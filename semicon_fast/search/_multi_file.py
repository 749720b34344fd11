"""The file of a MultiIndex: a header of 128 bytes, codes, ids and tables; little-endian.

    offset  size  field
         0     8  magic b"SFMULTIX"
         8     4  format version, 1
        12     4  size of this header, 128
        16     4  bits of a code, packed as in the index file (`_file`)
        20     1  1 if ids follow the codes, 0 if code i has id i
        21     1  bytes of a table's entry, 4 or 8
        22     2  0
        24     8  number of codes, all of them in the tables
        32     8  id of the next code that is added without one
        40     4  number of tables; 0 if they were saved without native kernels
        44     4  `tables` that was asked for, 0 for None
        48     4  `bits_per_table` that was asked for, 0 for None
        52     4  0
        56     8  size of the file
        64     4  CRC-32 of everything after the header
        68    56  0
       124     4  CRC-32 of the 124 bytes before

Then, each aligned: codes uint8 (count, ceil(bits / 8)); ids int64 (count,), ascending, if any; bits
of each table's addresses, int32 (tables,); and for each table, which have the bits of a code in
turn as evenly as possible, offsets (2**address bits + 1,) and positions (count,).
"""

import os
import struct
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np

from ..arrays import as_tensor
from ..codes import MAX_BITS, check_codes
from ..files import atomic_write
from ..ops.tables import MAX_ADDRESS_BITS, MAX_PIECE_BITS, Piece, Tables
from ._file import SIZE, aligned, check_content, check_path, mapped, read_header, views
from ._store import Store, from_arrays
from ._tables import CodeTables, TableSizes, even_pieces

__all__ = ["check_path", "read", "write"]

_MAGIC = b"SFMULTIX"
_VERSION = 1
_HEADER = struct.Struct("<8sIIIBBxxQQIII4xQI56x")


class _Header(NamedTuple):
    bits: int
    has_ids: int
    entry: int
    codes: int
    next_id: int
    tables: int
    wanted_tables: int
    wanted_bits: int
    size: int
    checksum: int

    def layout(self) -> tuple[int, int]:
        """Where the ids begin, and where the tables do."""
        ids = aligned(SIZE + self.codes * ((self.bits + 7) // 8))
        return ids, aligned(ids + 8 * self.codes * self.has_ids)

    def pack(self) -> bytes:
        raw = _HEADER.pack(_MAGIC, _VERSION, SIZE, *self)
        return raw + struct.pack("<I", zlib.crc32(raw))


def write(
    path: str | os.PathLike[str], bits: int, store: Store, tables: CodeTables, sizes: TableSizes
) -> None:
    """Writes a temporary file and renames it to `path`. All codes must be in the tables."""
    held = tables.tables
    ids = None if store.ids is None else store.ids.numpy()
    arrays = [store.codes.numpy(), *([] if ids is None else [ids])]
    address_bits = [piece.address_bits for piece in held.pieces if held.offsets]
    arrays.append(np.array(address_bits, np.int32))
    for offsets, positions in zip(held.offsets, held.positions, strict=True):
        arrays += [offsets.numpy(), positions.numpy()]
    checksum, size = 0, SIZE
    for piece in _pieces(arrays):
        checksum, size = zlib.crc32(piece, checksum), size + len(piece)
    count = len(held.offsets)
    entry = held.positions[0].element_size() if count else 4
    wanted = sizes.tables or 0, sizes.bits_per_table or 0
    has_ids = ids is not None
    header = _Header(
        bits, has_ids, entry, store.count, store.next_id, count, *wanted, size, checksum
    )
    with atomic_write(path) as file:
        file.write(header.pack())
        for piece in _pieces(arrays):
            file.write(piece)


def _pieces(arrays: Sequence[np.ndarray]) -> Iterator[memoryview | bytes]:
    """The bytes of the arrays, each padded with zeros to a multiple of 64."""
    for array in arrays:
        raw = np.ascontiguousarray(array).astype(array.dtype.newbyteorder("<"), copy=False)
        yield from views(raw.reshape(-1).view(np.uint8))
        yield bytes(aligned(array.nbytes) - array.nbytes)


def read(path: str | os.PathLike[str], *, verify: bool) -> tuple[int, TableSizes, Store]:
    """Memory-maps the file read-only: bits, sizes that were asked for, and codes with their tables.

    Raises ValueError if the file is no multi-index, has a newer format, is truncated or damaged;
    OSError if it cannot be opened, TypeError if `path` is not a path.
    """
    check_path(path)
    where = Path(path)
    with open(path, "rb") as file:
        header = _header(file, where)
        if verify:
            check_content(file, header.checksum, where)
        bits, count = header.bits, header.codes
        sizes = TableSizes(bits, header.wanted_tables or None, header.wanted_bits or None)
        ids_at, tables_at = header.layout()
        pieces = _table_pieces(file, header, where)
        codes = mapped(file, SIZE, np.dtype(np.uint8), (count, (bits + 7) // 8))
        ids = mapped(file, ids_at, np.dtype("<i8"), (count,)) if header.has_ids else None
        at = aligned(tables_at + 4 * header.tables)
        dtype = np.dtype("<i4" if header.entry == 4 else "<i8")
        tables = Tables(pieces, [], [])
        for piece in pieces[: header.tables]:
            offsets = mapped(file, at, dtype, (2**piece.address_bits + 1,))
            at = aligned(at + offsets.nbytes)
            positions = mapped(file, at, dtype, (count,))
            at = aligned(at + positions.nbytes)
            tables.offsets.append(as_tensor(offsets, "offsets"))
            tables.positions.append(as_tensor(positions, "positions"))
    if verify:
        check_codes(codes, bits, f"{where}: its codes")
    store = from_arrays(codes, ids, header.next_id)
    store.tables = CodeTables(tables, count) if header.tables else None
    return bits, sizes, store


def _header(file: IO[bytes], path: Path) -> _Header:
    raw = read_header(file, path, _MAGIC, _VERSION)
    header = _Header(*_HEADER.unpack_from(raw)[3:])
    bits = header.bits
    known = 1 <= bits <= MAX_BITS and header.has_ids in (0, 1) and header.entry in (4, 8)
    known = known and header.next_id >= header.codes and header.tables <= bits
    known = known and max(header.wanted_tables, header.wanted_bits) <= bits
    if not known or (header.tables and header.tables * MAX_PIECE_BITS < bits):
        raise ValueError(f"{path} has a header that this release does not understand")
    size = os.fstat(file.fileno()).st_size
    if size != header.size:
        state = "cut short" if size < header.size else "longer than it should be"
        raise ValueError(f"{path} is {state}: {size} bytes, its header names {header.size}")
    return header


def _table_pieces(file: IO[bytes], header: _Header, path: Path) -> tuple[Piece, ...]:
    """The pieces of the tables, after checking that the file is as large as its tables need."""
    at = header.layout()[1]
    end = aligned(at + 4 * header.tables)
    pieces = even_pieces(header.bits, header.tables or 1, header.codes)
    fits = end <= header.size
    if fits and header.tables:
        file.seek(at)
        chosen = np.frombuffer(file.read(4 * header.tables), "<i4").tolist()
        pairs = list(zip(pieces, chosen, strict=True))
        fits = all(0 <= a <= min(piece.bits, MAX_ADDRESS_BITS) for piece, a in pairs)
        pieces = tuple(Piece(piece.first, piece.bits, a) for piece, a in pairs)
    for piece in pieces[: header.tables] if fits else ():
        end = aligned(end + header.entry * (2**piece.address_bits + 1))
        end = aligned(end + header.entry * header.codes)
    if not fits or end != header.size:
        raise ValueError(f"{path} is damaged: its tables do not fit its codes")
    return pieces
