"""Packed binary codes and exact search over them."""

from .codes import code_bytes, pack_codes, select_bits, unpack_codes

__all__ = ["code_bytes", "pack_codes", "select_bits", "unpack_codes"]
