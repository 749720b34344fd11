"""Saves a fitted hasher in one safetensors file, with its parameters as JSON in the metadata."""

import json
import os
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as serialise
from torch import Tensor

from ..arrays import as_tensor
from ..files import atomic_write, utf8_path
from .registry import build, hasher_class

if TYPE_CHECKING:
    from ._base import Hasher

KEY = "semicon_fast"
FORMAT = 1
# Parameters that are matrices are tensors of the file.
_PARAMETER = "parameter."


def save(hasher: "Hasher", path: str | os.PathLike[str]) -> None:
    """Write a fitted hasher to `path`: an existing file is replaced only by a complete one.

    The metadata entry "semicon_fast" is JSON: {"format": 1, "hasher", "parameters", "features"},
    the last the width of the features. Raises ValueError before `fit`.
    """
    if not hasattr(hasher, "state_"):
        raise ValueError(f"{hasher.name} has learned nothing yet: call fit before save")
    tensors = {name: value.contiguous() for name, value in hasher.state_.items()}
    parameters = {}
    for name, value in hasher.get_params().items():
        if isinstance(value, (Tensor, np.ndarray)):
            tensors[_PARAMETER + name] = as_tensor(value, name).cpu().contiguous()
        else:
            parameters[name] = value.item() if isinstance(value, np.generic) else value
    header = {
        "format": FORMAT,
        "hasher": hasher.name,
        "parameters": parameters,
        "features": hasher.n_features_in_,
    }
    data = serialise(tensors, metadata={KEY: json.dumps(header)})
    with atomic_write(path) as file:
        file.write(data)


def load(path: str | os.PathLike[str]) -> "Hasher":
    """The fitted hasher of a file that `save` wrote.

    Raises:
        FileNotFoundError: no such file.
        ValueError: the file is damaged, not one of `save`, of a newer version, or its tensors do
            not fit its parameters.
    """
    header, tensors = _read(path)
    if header["format"] > FORMAT:
        raise ValueError(
            f"{path} has format {header['format']}, this version reads up to {FORMAT}; it was "
            "written by a newer semicon_fast"
        )
    parameters = dict(header["parameters"])
    for name in [name for name in tensors if name.startswith(_PARAMETER)]:
        parameters[name.removeprefix(_PARAMETER)] = tensors.pop(name)
    try:
        kind = hasher_class(header["hasher"])
        hasher = build(header["hasher"], **parameters)
        if set(tensors) != set(kind.STATE):
            raise ValueError(f"it holds {', '.join(sorted(tensors)) or 'no tensors'}")
        hasher.state_, hasher.n_features_in_ = tensors, header["features"]
        trial = hasher.project(torch.zeros(1, hasher.n_features_in_))
        if trial.shape != (1, hasher.bits):
            raise ValueError(f"its codes have {trial.shape[1]} bits, not {hasher.bits}")
    except (TypeError, ValueError, RuntimeError) as error:
        raise ValueError(f"{path} describes a hasher that cannot be used: {error}") from error
    return hasher


def _read(path: str | os.PathLike[str]) -> tuple[dict[str, Any], dict[str, Tensor]]:
    if not os.path.isfile(path):
        raise FileNotFoundError(f"{path} is not a file")
    try:
        with utf8_path(path) as name, safe_open(name, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise ValueError(f"{path} is not a safetensors file, or is damaged: {error}") from error
    wanted = {"format": int, "hasher": str, "parameters": dict, "features": int}
    try:
        header = json.loads(metadata[KEY])
        complete = all(isinstance(header[name], kind) for name, kind in wanted.items())
    except (KeyError, TypeError, ValueError):
        complete = False
    if not complete:
        raise ValueError(f"{path} is a safetensors file, but not a hasher that this library wrote")
    return header, tensors
