"""The operators of the library: each function checks its arguments and calls `torch.ops`.

The operators themselves are `torch.ops.semicon_fast.*`.
"""

from . import _cpu, _triton  # noqa: F401  importing them registers their implementations
from ._library import backends
from ._triton import loads_norm
from .hamming import (
    hamming_distance,
    hamming_group_histogram,
    hamming_histogram,
    hamming_range,
    hamming_ranks,
    hamming_topk,
)
from .icon_attention import icon_attention
from .icon_normed import icon_attention_moments, icon_attention_normed
from .scores import score_topk
from .sem_mask import sem_mask

__all__ = [
    "backends",
    "hamming_distance",
    "hamming_group_histogram",
    "hamming_histogram",
    "hamming_range",
    "hamming_ranks",
    "hamming_topk",
    "icon_attention",
    "icon_attention_moments",
    "icon_attention_normed",
    "loads_norm",
    "score_topk",
    "sem_mask",
]
