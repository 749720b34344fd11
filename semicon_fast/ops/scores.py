"""Exact asymmetric search: the codes with the largest inner products with real-valued outputs.

`reference.scores` implements the operator for every device, and says what a score is; a native
kernel replaces it on the CPU.
"""

import torch
from torch import Tensor

from ..reference import scores as reference
from ._library import define
from .hamming import MAX_BYTES, check_integer, native_first


def _fake_topk(outputs: Tensor, database: Tensor, k: int) -> tuple[Tensor, Tensor]:
    shape = (outputs.shape[0], k)
    return outputs.new_empty(shape), outputs.new_empty(shape, dtype=torch.int64)


SCORE_TOPK = define(
    "score_topk(Tensor outputs, Tensor database, int k) -> (Tensor, Tensor)",
    native_first(reference.score_topk),
    _fake_topk,
)


def score_topk(outputs: Tensor, database: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The k codes with the largest scores, by (score descending, position ascending).

    outputs float32 (Q, bits), finite, also in their sum; database uint8 (N, bytes) with 8 * bytes
    >= bits; 0 <= k <= N. Returns scores float32 (Q, k) and positions int64 (Q, k). A score is the
    sum of +-outputs by the bits of a code, added in the order that `reference.scores` defines.
    """
    for name, value, dtype in (
        ("outputs", outputs, torch.float32),
        ("database", database, torch.uint8),
    ):
        if not isinstance(value, Tensor) or value.dtype is not dtype:
            found = value.dtype if isinstance(value, Tensor) else type(value).__name__
            raise TypeError(f"score_topk: {name} must be a {dtype} tensor, got {found}")
    if database.ndim != 2 or not 1 <= database.shape[1] <= MAX_BYTES:
        raise ValueError(
            f"score_topk: database must be (rows, bytes) with 1 to {MAX_BYTES} bytes, got "
            f"{tuple(database.shape)}"
        )
    if outputs.ndim != 2 or not 1 <= outputs.shape[1] <= 8 * database.shape[1]:
        raise ValueError(
            f"score_topk: outputs must be (rows, bits) with 1 to {8 * database.shape[1]} bits, got "
            f"{tuple(outputs.shape)}"
        )
    if outputs.device != database.device:
        raise ValueError(
            "score_topk: outputs and database must be on one device, got "
            f"{outputs.device} and {database.device}"
        )
    check_integer("score_topk", "k", k, database.shape[0])
    scores, positions = SCORE_TOPK(outputs, database, k)
    return scores, positions
