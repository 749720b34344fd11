"""Tile sides, warps and stages of ICON's kernels.

One rule a kernel, chosen so that registers hold everything without spilling; the compiler is held
to the table of tests/kernels. No figure of speed stands behind it.
"""

import triton

from .layout import padded
from .options import compiled_with

# Heads up to this many tokens are one tile of logits.
WHOLE_TOKENS = 64

# Programs that fill a device: 132 multiprocessors (H200) times four, rounded.
ENOUGH_PROGRAMS = 512


def _rows(d: int) -> int:
    """Rows of a tile of logits with d columns: all, or 4096 elements in a tile."""
    return d if d <= WHOLE_TOKENS else 4096 // d


def forward_blocks(tokens: int, cells: int, element_size: int, normed: bool) -> dict[str, int]:
    """Of `_icon_attention_fwd_kernel`."""
    d = padded(tokens)
    wide = element_size == 4
    # With a norm, tiles of 64 that are followed by another spill (sm_90).
    widest = 16 if wide else 32 if normed and cells > 64 else 64
    return {
        "BLOCK_M": _rows(d),
        "BLOCK_D": d,
        "BLOCK_K": min(d, 16 if wide else 64),
        "BLOCK_P": min(padded(cells), widest),
        **compiled_with(num_warps=4 if d <= 32 else 8),
    }


def backward_blocks(tokens: int, cells: int, element_size: int) -> dict[str, int]:
    """Of `_icon_attention_bwd_kernel`."""
    d = padded(tokens)
    wide = element_size == 4
    # A second tile of cells keeps two products alive from one to the next: 64 cells spill.
    narrow = 16 if wide else 32
    return {
        "BLOCK_M": _rows(d),
        "BLOCK_D": d,
        "BLOCK_K": min(d, 16 if wide else 64),
        "BLOCK_P": padded(cells) if cells <= 64 and not wide else narrow,
        **compiled_with(num_warps=4 if d <= 32 else 8),
    }


def token_blocks(tokens: int, cells: int, element_size: int) -> dict[str, int]:
    """Of `_icon_tokens_bwd_kernel`."""
    wide = element_size == 4
    return {
        "BLOCK_M": 32,
        "BLOCK_N": 64,
        "BLOCK_K": 16 if wide else 32,
        "BLOCK_P": min(padded(cells), 16 if wide else 64),
        **compiled_with(num_warps=8),
    }


def input_blocks(tokens: int, cells: int, element_size: int) -> dict[str, int]:
    """Of `_icon_input_bwd_kernel`."""
    wide = element_size == 4
    return {
        "BLOCK_M": min(padded(tokens), 64),
        "BLOCK_K": 16 if wide else 32,
        "BLOCK_P": min(padded(cells), 16 if wide else 64),
        **compiled_with(num_warps=4),
    }


def weight_blocks(tokens: int, cells: int, element_size: int) -> dict[str, int]:
    """Of `_icon_weight_bwd_kernel`."""
    d = padded(tokens)
    wide = element_size == 4
    return {
        "BLOCK_M": min(d, 64),
        "BLOCK_N": min(d, 64),
        "BLOCK_P": min(padded(cells), 16 if wide else 64),
        **compiled_with(num_warps=8 if d > 32 else 4),
    }


def statistics_blocks(cells: int) -> dict[str, int]:
    """Of `_icon_statistics_bwd_kernel`."""
    return {"BLOCK_C": 16, "BLOCK_P": min(padded(cells), 64), **compiled_with(num_warps=4)}


def image_runs(images: int, programs_a_run: int) -> int:
    """Images that one program of `_icon_weight_bwd_kernel` adds up.

    A function of the shapes alone, so that a gradient is the same on every device.
    """
    runs = min(images, triton.cdiv(ENOUGH_PROGRAMS, programs_a_run))
    return int(triton.cdiv(images, runs))
