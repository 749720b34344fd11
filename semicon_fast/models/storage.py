"""Saves a network in one safetensors file, with its configuration as JSON in the metadata."""

import json
import os
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as serialise
from torch import nn

from ..files import atomic_write, utf8_path
from .base import HashModel
from .registry import build
from .state_dicts import misfit, without_prefix

KEY = "semicon_fast"
FORMAT = 1


def save(
    model: nn.Module, path: str | os.PathLike[str], *, record: dict[str, Any] | None = None
) -> None:
    """Write `model` to `path` atomically: an existing file is replaced only by a complete one.

    Of a model that torch.compile or (Distributed)DataParallel returned, the one inside is written.
    Raises TypeError for other models than those of this library.

    The metadata entry "semicon_fast" is JSON: {"format": 1, "config", "preprocess"}, and "record"
    where one is given: where the weights are from, JSON-able.
    """
    model = _unwrapped(model)
    header = {"format": FORMAT, "config": model.config(), "preprocess": model.preprocess}
    if record is not None:
        header["record"] = record
    tensors = {name: value.detach().contiguous() for name, value in model.state_dict().items()}
    data = serialise(tensors, metadata={KEY: json.dumps(header)})
    with atomic_write(path) as file:
        file.write(data)


def _unwrapped(model: nn.Module) -> HashModel:
    while inner := getattr(model, "_orig_mod", None) or getattr(model, "module", None):
        model = inner
    if not isinstance(model, HashModel):
        raise TypeError(f"save: model must be a HashModel, got {type(model).__name__}")
    return model


def load(path: str | os.PathLike[str], code_length: int | None = None) -> HashModel:
    """Load a network that `save` wrote, on the CPU and in evaluation mode.

    Args:
        path: the file.
        code_length: the expected code length; None accepts any.

    Raises:
        FileNotFoundError: no such file.
        ValueError: the file is damaged, not a safetensors file, not written by `save` or written
            by a newer version; its tensors do not fit its configuration; or its code length is
            not `code_length`.
    """
    header, tensors = _read_file(path)
    if header["format"] > FORMAT:
        raise ValueError(
            f"{path} has format {header['format']}, this version reads up to {FORMAT}; it was "
            "written by a newer semicon_fast"
        )
    found = header["config"].get("code_length")
    check_found_length(path, found, code_length)
    model = restore(header["config"], tensors, path)
    model.preprocess = header.get("preprocess")
    return model


def record_of(path: str | os.PathLike[str]) -> dict[str, Any] | None:
    """The record that `save` was given, None without one. Raises as `load`."""
    return _read_file(path, tensors=False)[0].get("record")


def restore(
    config: dict[str, Any], tensors: dict[str, torch.Tensor], path: str | os.PathLike[str]
) -> HashModel:
    """The network of this configuration with `tensors`, in evaluation mode.

    path: where both are from, for the ValueError that says why they do not fit.
    """
    try:
        with torch.device("meta"):
            model = build(config)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path} describes a network that cannot be built: {error}") from error
    assign_tensors(model, tensors, path)
    return model.eval()


def check_found_length(
    path: str | os.PathLike[str], found: int | None, expected: int | None
) -> None:
    """Raises ValueError if a file's code length is not the expected one; None accepts any."""
    if expected is not None and found != expected:
        raise ValueError(f"{path} has {found}-bit codes, but code_length is {expected}")


def assign_tensors(
    model: HashModel, tensors: dict[str, torch.Tensor], path: str | os.PathLike[str]
) -> None:
    """Replace the parameters and buffers of a model on the meta device by `tensors`.

    A prefix of all names is removed, see `without_prefix`. Raises ValueError if names or shapes
    differ; `path` is for its message.
    """
    expected = model.state_dict()
    tensors = without_prefix(tensors, expected, path)
    if wrong := misfit(expected, tensors, strict=True):
        raise ValueError(f"the tensors in {path} do not fit network {model.network!r}: {wrong}")
    model.load_state_dict(tensors, assign=True)


def _read_file(
    path: str | os.PathLike[str], tensors: bool = True
) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    if not os.path.isfile(path):
        raise FileNotFoundError(f"{path} is not a file")
    try:
        with utf8_path(path) as name, safe_open(name, framework="pt") as file:
            metadata = file.metadata() or {}
            names = file.keys() if tensors else ()
            found = {name: file.get_tensor(name) for name in names}
    except SafetensorError as error:
        raise ValueError(f"{path} is not a safetensors file, or is damaged: {error}") from error
    try:
        header = json.loads(metadata[KEY])
        complete = isinstance(header["format"], int) and isinstance(header["config"], dict)
    except (KeyError, TypeError, ValueError):
        complete = False
    if not complete:
        raise ValueError(f"{path} is a safetensors file, but not a network that this library wrote")
    return header, found
