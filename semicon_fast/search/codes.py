"""The functions of `semicon_fast.codes`, which are public names of this package too."""

from ..codes import code_bytes, convert_codes, pack_codes, select_bits, unpack_codes

__all__ = ["code_bytes", "convert_codes", "pack_codes", "select_bits", "unpack_codes"]
