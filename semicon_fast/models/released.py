"""Checkpoints of the released SEMICON code."""

import os

import torch
from torch import Tensor

from .semicon import SEMICON, split_bits
from .state_dicts import read_tensors, without_prefix
from .storage import assign_tensors, check_found_length


def load_released(path: str | os.PathLike[str], code_length: int | None = None) -> SEMICON:
    """Load a state dict that the released training code wrote ("model.pth").

    The network is SEMICON with a ResNet-50, variant "official", in evaluation mode; the number of
    parts and the code length follow from the shapes of the hash weights.

    Args:
        path: a file with 502 entries (for three parts), read without unpickling objects. The state
            dict may be nested in a checkpoint, and its names may have a prefix, as DataParallel and
            torch.compile add; see `state_dicts`.
        code_length: the expected code length; None accepts any.

    Raises:
        FileNotFoundError: no such file.
        ValueError: not a state dict, entries missing or unexpected, or another code length.
    """
    with torch.device("meta"):
        # The names do not depend on the code length, and hardly on the number of parts.
        usual = SEMICON(12, variant="official").state_dict()
    state = without_prefix(read_tensors(path), usual, path)
    sizes = _branch_bits(state, path)
    found, parts = sum(sizes), len(sizes) - 1
    check_found_length(path, found, code_length)
    if sizes != split_bits(found, parts):
        raise ValueError(
            f"{path} splits {found} bits into {sizes}, this library into {split_bits(found, parts)}"
        )
    with torch.device("meta"):
        model = SEMICON(found, parts=parts, variant="official")
    assign_tensors(model, state, path)
    return model.eval()


def _branch_bits(state: dict[str, Tensor], path: str | os.PathLike[str]) -> list[int]:
    names = ["W_G"]
    while f"W_L{len(names)}" in state:
        names.append(f"W_L{len(names)}")
    if "W_G" not in state or len(names) < 2:
        some = ", ".join(list(state)[:3]) or "nothing"
        raise ValueError(
            f"{path} is not a checkpoint of the released code: no W_G and W_L1 among its "
            f"{len(state)} entries ({some} ...)"
        )
    flat = [name for name in names if state[name].ndim != 2]
    if flat:
        raise ValueError(f"{path}: {flat[0]} must be (bits, C), got {tuple(state[flat[0]].shape)}")
    return [state[name].shape[0] for name in names]
