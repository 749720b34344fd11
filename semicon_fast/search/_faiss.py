"""Converts codes and ids to and from faiss's flat binary indexes; faiss is imported when needed."""

from importlib import import_module
from typing import Any

import numpy as np


def _library(name: str) -> Any:
    try:
        return import_module("faiss")
    except ImportError as error:
        raise ImportError(f"{name} needs faiss; install it (pip install faiss-cpu)") from error


def write(codes: np.ndarray, ids: np.ndarray | None) -> Any:
    """codes uint8 (N, bytes) -> IndexBinaryFlat; with ids int64 (N,), inside IndexBinaryIDMap2."""
    faiss = _library("to_faiss")
    flat = faiss.IndexBinaryFlat(8 * codes.shape[1])
    if ids is None:
        flat.add(np.ascontiguousarray(codes))
        return flat
    named = faiss.IndexBinaryIDMap2(flat)
    named.add_with_ids(np.ascontiguousarray(codes), np.ascontiguousarray(ids))
    return named


def read(index: Any) -> tuple[np.ndarray, np.ndarray | None]:
    """Codes uint8 (N, bytes), sharing memory with `index`; ids int64 (N,), or None for 0..N - 1.

    Raises TypeError unless it is an IndexBinaryFlat, or an IndexBinaryIDMap(2) over one.
    """
    faiss = _library("from_faiss")
    flat, ids = index, None
    if isinstance(index, faiss.IndexBinary):
        flat = faiss.downcast_IndexBinary(index)
    if isinstance(flat, faiss.IndexBinaryIDMap):
        ids = faiss.vector_to_array(flat.id_map)
        flat = faiss.downcast_IndexBinary(flat.index)
    if not isinstance(flat, faiss.IndexBinaryFlat):
        raise TypeError(
            "from_faiss: index must be an IndexBinaryFlat, or an IndexBinaryIDMap or "
            f"IndexBinaryIDMap2 over one, got {type(flat).__name__}"
        )
    shape = (flat.ntotal, flat.code_size)
    if flat.ntotal == 0:
        return np.empty(shape, np.uint8), ids
    return faiss.rev_swig_ptr(flat.xb.data(), shape[0] * shape[1]).reshape(shape), ids
