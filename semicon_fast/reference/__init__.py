"""Every operator in plain PyTorch.

All faster implementations are tested against these, which also serve where there is none.
"""

from .hamming import (
    hamming_distance,
    hamming_group_histogram,
    hamming_histogram,
    hamming_range,
    hamming_ranks,
    hamming_topk,
)
from .icon_attention import IconStep, icon_attention, icon_attention_backward
from .icon_normed import (
    NormedStep,
    icon_attention_moments,
    icon_attention_normed,
    icon_attention_normed_backward,
)
from .layout import empty_like, memory_format_of
from .sem_mask import sem_mask, sem_mask_backward

__all__ = [
    "IconStep",
    "NormedStep",
    "empty_like",
    "hamming_distance",
    "hamming_group_histogram",
    "hamming_histogram",
    "hamming_range",
    "hamming_ranks",
    "hamming_topk",
    "icon_attention",
    "icon_attention_backward",
    "icon_attention_moments",
    "icon_attention_normed",
    "icon_attention_normed_backward",
    "memory_format_of",
    "sem_mask",
    "sem_mask_backward",
]
