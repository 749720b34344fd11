"""Packed binary codes and exact search over them."""

from ..codes import code_bytes, convert_codes, pack_codes, select_bits, unpack_codes
from .bit_groups import part_distances
from .index import HammingIndex
from .reranking import rerank
from .sharded import ShardedHammingIndex
from .streamed import StreamedIndex

__all__ = [
    "HammingIndex",
    "ShardedHammingIndex",
    "StreamedIndex",
    "code_bytes",
    "convert_codes",
    "pack_codes",
    "part_distances",
    "rerank",
    "select_bits",
    "unpack_codes",
]
