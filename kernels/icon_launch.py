"""Block sizes, warps and stages of ICON's kernels.

One rule per kernel, chosen so that no registers are spilled; tests/kernels compares the compiler's
registers and spills with a table. The rules are not tuned for speed by measurement.
"""

import triton

from .layout import padded
from .options import compiled_with

# The logits of heads with up to this many tokens are a single tile.
WHOLE_TOKENS = 64

# Number of programs that fill a device: 132 multiprocessors (H200) times four, rounded.
ENOUGH_PROGRAMS = 512


def _rows(d: int) -> int:
    """Rows of a tile of logits with d columns: all d, or as many as give 4096 elements."""
    return d if d <= WHOLE_TOKENS else 4096 // d


def forward_blocks(tokens: int, cells: int, element_size: int, normed: bool) -> dict[str, int]:
    """Launch parameters of `_icon_attention_fwd_kernel`."""
    d = padded(tokens)
    wide = element_size == 4
    # With a norm and more than one tile of cells, 64 cells per tile spill (sm_90).
    widest = 16 if wide else 32 if normed and cells > 64 else 64
    # A single tile of 64 tokens needs hardly more registers a thread in 4 warps than in 8: 4
    # programs fit on a multiprocessor of sm_90, 2 of sm_80, instead of 1. Asked for no more than
    # 224 registers the compiler takes fewer on sm_90 than if it chose (125 instead of 150).
    single = WHOLE_TOKENS >= d > 32 and cells <= widest and not wide
    return {
        "BLOCK_M": _rows(d),
        "BLOCK_D": d,
        "BLOCK_K": min(d, 16 if wide else 64),
        "BLOCK_P": min(padded(cells), widest),
        **compiled_with(num_warps=4 if d <= 32 or single else 8, maxnreg=224 if single else None),
    }


def backward_blocks(tokens: int, cells: int, element_size: int) -> dict[str, int]:
    """Launch parameters of `_icon_attention_bwd_kernel`."""
    d = padded(tokens)
    wide = element_size == 4
    # With more than one tile of cells two products are live between tiles, and 64 cells spill.
    narrow = 16 if wide else 32
    return {
        "BLOCK_M": _rows(d),
        "BLOCK_D": d,
        "BLOCK_K": min(d, 16 if wide else 64),
        "BLOCK_P": padded(cells) if cells <= 64 and not wide else narrow,
        **compiled_with(num_warps=4 if d <= 32 else 8),
    }


def token_blocks(tokens: int, cells: int, element_size: int) -> dict[str, int]:
    """Launch parameters of `_icon_tokens_bwd_kernel`."""
    wide = element_size == 4
    return {
        "BLOCK_M": 32,
        "BLOCK_N": 64,
        "BLOCK_K": 16 if wide else 32,
        "BLOCK_P": min(padded(cells), 16 if wide else 64),
        **compiled_with(num_warps=8),
    }


def input_blocks(tokens: int, cells: int, element_size: int) -> dict[str, int]:
    """Launch parameters of `_icon_input_bwd_kernel`."""
    wide = element_size == 4
    return {
        "BLOCK_M": min(padded(tokens), 64),
        "BLOCK_K": 16 if wide else 32,
        "BLOCK_P": min(padded(cells), 16 if wide else 64),
        **compiled_with(num_warps=4),
    }


def weight_blocks(tokens: int, cells: int, element_size: int) -> dict[str, int]:
    """Launch parameters of `_icon_weight_bwd_kernel`."""
    d = padded(tokens)
    wide = element_size == 4
    return {
        "BLOCK_M": min(d, 64),
        "BLOCK_N": min(d, 64),
        "BLOCK_P": min(padded(cells), 16 if wide else 64),
        **compiled_with(num_warps=8 if d > 32 else 4),
    }


def statistics_blocks(cells: int) -> dict[str, int]:
    """Launch parameters of `_icon_statistics_bwd_kernel`."""
    return {"BLOCK_C": 16, "BLOCK_P": min(padded(cells), 64), **compiled_with(num_warps=4)}


def image_runs(images: int, programs_a_run: int) -> int:
    """Number of images that one program of `_icon_weight_bwd_kernel` sums.

    It depends on the shapes only, so that gradients are identical on every device.
    """
    runs = min(images, triton.cdiv(ENOUGH_PROGRAMS, programs_a_run))
    return int(triton.cdiv(images, runs))
