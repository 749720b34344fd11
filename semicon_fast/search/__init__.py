"""Packed binary codes and exact search over them."""

from .codes import code_bytes, convert_codes, pack_codes, select_bits, unpack_codes
from .index import HammingIndex
from .parts import part_distances
from .reranking import rerank

__all__ = [
    "HammingIndex",
    "code_bytes",
    "convert_codes",
    "pack_codes",
    "part_distances",
    "rerank",
    "select_bits",
    "unpack_codes",
]
