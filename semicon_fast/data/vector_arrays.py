"""Arrays in .npy and .npz files, memory-mapped where the file allows it."""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from safetensors import SafetensorError

# Each array by name, as a function that maps or reads it.
Arrays = dict[str, Callable[[], np.ndarray]]


@contextmanager
def explained(path: Path, kind: str) -> Iterator[None]:
    """Errors of the libraries that read a file as one ValueError that names it."""
    try:
        yield
    except (OSError, EOFError, KeyError, ValueError, zipfile.BadZipFile, SafetensorError) as error:
        if isinstance(error, ValueError) and str(path) in str(error):
            raise
        raise ValueError(f"{path} is not a readable {kind}: {error}") from error


def npy_arrays(path: Path) -> Arrays:
    """The array of an .npy file, memory-mapped, under the name ""."""
    with explained(path, ".npy file"):
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    return {"": lambda: array}


def npz_arrays(path: Path) -> Arrays:
    """Each array of the file by name, as a function that maps or reads it."""
    with explained(path, ".npz file"), zipfile.ZipFile(path) as archive:
        members = [info for info in archive.infolist() if info.filename.endswith(".npy")]

    def read(info: zipfile.ZipInfo) -> np.ndarray:
        with explained(path, ".npz file"):
            return _npz_array(path, info)

    return {
        info.filename.removesuffix(".npy"): lambda info=info: read(info)  # type: ignore[misc]
        for info in members
    }


def _npz_array(path: Path, info: zipfile.ZipInfo) -> np.ndarray:
    with zipfile.ZipFile(path) as archive, archive.open(info) as member:
        version = np.lib.format.read_magic(member)
        header = {
            (1, 0): np.lib.format.read_array_header_1_0,
            (2, 0): np.lib.format.read_array_header_2_0,
        }.get(version)
        if header is not None and info.compress_type == zipfile.ZIP_STORED:
            shape, by_columns, dtype = header(member)
            if not dtype.hasobject and 0 not in shape and shape:
                offset = _data_offset(path, info) + member.tell()
                order = "F" if by_columns else "C"
                return np.memmap(path, dtype, "r", offset, shape, order)  # type: ignore[call-overload]
    with np.load(path, allow_pickle=False) as arrays:
        found: np.ndarray = arrays[info.filename.removesuffix(".npy")]
        return found


def _data_offset(path: Path, info: zipfile.ZipInfo) -> int:
    """Where the bytes of an uncompressed member begin: after its local header (30 bytes, the last
    four of them the lengths of the name and of the extra field that follow)."""
    with open(path, "rb") as file:
        file.seek(info.header_offset + 26)
        lengths = np.frombuffer(file.read(4), "<u2")
    return info.header_offset + 30 + int(lengths.sum())
