"""Loads ImageNet weights into a trunk and into stage 4."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import torch
from torch import Tensor, nn

from .backbones import Stage4, Trunk, block_slots, spec
from .state_dicts import misfit, read_tensors, without_prefix

if TYPE_CHECKING:
    from torchvision.models import WeightsEnum

Weights: TypeAlias = "WeightsEnum | str | os.PathLike[str] | None"

_SUFFIXES = (".pth", ".pt", ".safetensors")


def pretrained(backbone: str, weights: Weights) -> dict[str, Tensor]:
    """State dict of a whole residual network with torchvision's parameter names.

    Args:
        backbone: name in `BACKBONES`.
        weights: a torchvision weights enum, its name ("IMAGENET1K_V1",
            "ResNet50_Weights.IMAGENET1K_V1"), "DEFAULT", or a path to a state dict. The paper
            used IMAGENET1K_V1. Named weights are downloaded by torchvision; "tiny" and "micro" have
            none. A state dict may be nested in a checkpoint and its names may have a prefix, see
            `read_tensors` and `without_prefix`.

    Raises:
        FileNotFoundError: no such file.
        OSError: named weights could not be downloaded.
        ValueError: an unknown name, or a file that `read_tensors` or `without_prefix` rejects.
    """
    spec(backbone)
    assert weights is not None
    if not isinstance(weights, (str, os.PathLike)):
        return _torchvision_weights(backbone, str(weights))
    if os.sep in str(weights) or Path(weights).suffix in _SUFFIXES or Path(weights).is_file():
        with torch.device("meta"):
            wanted = Trunk(backbone).state_dict()
        return without_prefix(read_tensors(weights), wanted, weights)
    return _torchvision_weights(backbone, str(weights))


def _torchvision_weights(backbone: str, name: str) -> dict[str, Tensor]:
    members: Mapping[str, Any] = {}
    if not spec(backbone).small_images:
        # Only here, and not at the top: torchvision takes as long to import as torch.
        import torchvision

        members = torchvision.models.get_model_weights(backbone).__members__
    prefix, _, short = name.rpartition(".")
    if short not in members or prefix.lower() not in ("", f"{backbone}_weights"):
        raise ValueError(
            f"weights for backbone {backbone!r} must be a path or one of "
            f"{', '.join(members) or '(it has no published weights)'}, got {name!r}"
        )
    try:
        return dict(members[short].get_state_dict(progress=False, check_hash=True))
    except (OSError, RuntimeError) as error:
        raise OSError(
            f"weights {short} of {backbone} are neither in {torch.hub.get_dir()} nor could they be "
            f"downloaded to it ({error}): name another folder in TORCH_HOME, or give the path of "
            "a file"
        ) from error


def load_trunk(trunk: Trunk, state: Mapping[str, Tensor]) -> None:
    """Load stages 1 to 3 from a torchvision state dict. ValueError if it does not fit."""
    _load_checked(trunk, state)


def load_stage4(stage: Stage4, backbone: str, state: Mapping[str, Tensor], by_number: bool) -> None:
    """Load stage 4 from a torchvision state dict; ICON keeps its initial weights.

    Args:
        stage: the stage to load.
        backbone: name of its backbone.
        state: state dict with torchvision's parameter names.
        by_number: load only blocks whose number in torchvision is also their number in `stage`.
            This reproduces the released code, which loads by name: ICON has the number of
            torchvision's last block, so that the last block keeps its random weights.
    """
    for block, slot in enumerate(block_slots(spec(backbone).blocks[3])):
        if by_number and block != slot:
            continue
        _load_checked(stage.layer4.get_submodule(str(slot)), state, f"layer4.{block}.")


def _load_checked(module: nn.Module, state: Mapping[str, Tensor], prefix: str = "") -> None:
    """Load what `state` has under `prefix`; ValueError if something is missing or does not fit."""
    expected = {prefix + name: value for name, value in module.state_dict().items()}
    # Checkpoints of old torch versions have no num_batches_tracked.
    counters = {n: v for n, v in expected.items() if n.endswith("num_batches_tracked")}
    state = {**counters, **state}
    if wrong := misfit(expected, state, strict=False):
        raise ValueError(f"weights do not fit the backbone: {wrong}")
    module.load_state_dict({name.removeprefix(prefix): state[name] for name in expected})
