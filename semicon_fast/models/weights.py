"""Loads ImageNet weights into a trunk and into stage 4."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from ..files import utf8_path
from .backbones import Stage4, Trunk, block_slots, spec

if TYPE_CHECKING:
    from torchvision.models import WeightsEnum

Weights: TypeAlias = "WeightsEnum | str | os.PathLike[str] | None"

_SUFFIXES = (".pth", ".pt", ".safetensors")


def read_tensors(path: str | os.PathLike[str]) -> dict[str, Tensor]:
    """The state dict in a .safetensors or torch file, read without unpickling objects.

    Raises:
        FileNotFoundError: no such file.
        ValueError: another type of file, a damaged one, or one with other objects than tensors.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path} is not a file")
    try:
        with utf8_path(path) as name:
            if path.suffix == ".safetensors":
                return dict(load_file(name))
            content = torch.load(name, map_location="cpu", weights_only=True)
    except OSError:
        raise
    except Exception as error:
        # Reading a damaged file can raise almost any exception.
        raise ValueError(
            f"{path} is not a file of tensors: it is damaged, has another format, or has objects "
            "that would have to be unpickled, which is not allowed"
        ) from error
    if not isinstance(content, Mapping) or not all(isinstance(v, Tensor) for v in content.values()):
        raise ValueError(f"{path} must be a state dict (names and tensors)")
    return {str(name): value for name, value in content.items()}


def pretrained(backbone: str, weights: Weights) -> dict[str, Tensor]:
    """State dict of a whole residual network with torchvision's parameter names.

    Args:
        backbone: name in `BACKBONES`.
        weights: a torchvision weights enum, its name ("IMAGENET1K_V1",
            "ResNet50_Weights.IMAGENET1K_V1"), "DEFAULT", or a path to a state dict. The paper
            used IMAGENET1K_V1. Named weights are downloaded by torchvision; "tiny" and "micro" have
            none.

    Raises:
        FileNotFoundError: no such file.
        OSError: named weights could not be downloaded.
        ValueError: an unknown name, or a file that `read_tensors` rejects.
    """
    spec(backbone)
    assert weights is not None
    if not isinstance(weights, (str, os.PathLike)):
        return _torchvision_weights(backbone, str(weights))
    if os.sep in str(weights) or Path(weights).suffix in _SUFFIXES or Path(weights).is_file():
        return read_tensors(weights)
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
    _load_checked(trunk, {name: state[name] for name in trunk.state_dict() if name in state})


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
        module = stage.layer4.get_submodule(str(slot))
        prefix = f"layer4.{block}."
        found = {name: state.get(prefix + name) for name in module.state_dict()}
        _load_checked(
            module, {name: value for name, value in found.items() if value is not None}, prefix
        )


def _load_checked(module: nn.Module, state: dict[str, Tensor], prefix: str = "") -> None:
    expected = module.state_dict()
    for name, value in expected.items():
        # Checkpoints of old torch versions have no num_batches_tracked.
        if name not in state and name.endswith("num_batches_tracked"):
            state[name] = value
    missing = [prefix + name for name in expected if name not in state]
    wrong = [
        f"{prefix}{name} is {tuple(state[name].shape)} instead of {tuple(value.shape)}"
        for name, value in expected.items()
        if name in state and state[name].shape != value.shape
    ]
    if missing or wrong:
        raise ValueError(
            "weights do not fit the backbone: "
            + "; ".join([f"no {name}" for name in missing[:3]] + wrong[:3])
        )
    module.load_state_dict(state)
