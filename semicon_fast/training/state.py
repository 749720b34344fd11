"""Converts the state of a training run to named tensors and JSON for a checkpoint, and back."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from .config import RunConfig
from .factory import choose_device

Tensors = dict[str, Tensor]


def with_prefix(prefix: str, tensors: Tensors) -> Tensors:
    return {f"{prefix}/{name}": tensor for name, tensor in tensors.items()}


def without_prefix(prefix: str, tensors: Tensors) -> Tensors:
    """Inverse of `with_prefix`: the tensors of one prefix, without it."""
    start = f"{prefix}/"
    return {n.removeprefix(start): t for n, t in tensors.items() if n.startswith(start)}


def optimizer_state(optimizer: torch.optim.Optimizer) -> tuple[Tensors, dict[str, Any]]:
    """state_dict() of the optimiser as (tensors, JSON-serialisable rest)."""
    state = optimizer.state_dict()
    tensors: Tensors = {}
    scalars: dict[str, dict[str, Any]] = {}
    for number, values in state["state"].items():
        for name, value in values.items():
            if isinstance(value, Tensor):
                tensors[f"{number}/{name}"] = value
            else:
                scalars.setdefault(str(number), {})[name] = value
    return tensors, {"scalars": scalars, "groups": state["param_groups"]}


def load_optimizer_state(
    optimizer: torch.optim.Optimizer, tensors: Tensors, rest: dict[str, Any]
) -> None:
    """Inverse of `optimizer_state`."""
    state: dict[int, dict[str, Any]] = {int(n): dict(v) for n, v in rest["scalars"].items()}
    for key, tensor in tensors.items():
        number, name = key.split("/", 1)
        state.setdefault(int(number), {})[name] = tensor
    groups = [
        # JSON has no tuples; restore the original type of betas.
        {k: tuple(v) if k == "betas" else v for k, v in group.items()}
        for group in rest["groups"]
    ]
    optimizer.load_state_dict({"state": state, "param_groups": groups})


def random_state(generators: dict[str, torch.Generator], device: torch.device) -> Tensors:
    """States of torch's global generators and of `generators`, uint8."""
    states = {"cpu": torch.get_rng_state()}
    if device.type == "cuda":
        states["cuda"] = torch.cuda.get_rng_state(device)
    return states | {f"own/{name}": g.get_state() for name, g in generators.items()}


def load_random_state(
    states: Tensors, generators: dict[str, torch.Generator], device: torch.device
) -> None:
    """Inverse of `random_state`."""
    torch.set_rng_state(states["cpu"])
    if device.type == "cuda" and "cuda" in states:
        torch.cuda.set_rng_state(states["cuda"], device)
    for name, generator in generators.items():
        generator.set_state(states[f"own/{name}"])


@contextmanager
def own_settings(run: RunConfig) -> Iterator[None]:
    """A context with the run's number of threads and seeded global generators; both are restored
    afterwards."""
    threads = torch.get_num_threads()
    if run.threads is not None:
        torch.set_num_threads(run.threads)
    try:
        # None means all GPUs, but the run uses one, and saving many states is slow.
        device = choose_device(run.device)
        used = device if device.type == "cuda" else torch.device("cuda")
        own = [used] if torch.cuda.device_count() > 1 else None
        with torch.random.fork_rng(devices=own):
            torch.manual_seed(run.seed)
            yield
    finally:
        torch.set_num_threads(threads)


def state_copy(module: nn.Module) -> Tensors:
    """A copy of state_dict() on the CPU that shares no memory with the module."""
    return {
        name: tensor.detach().to("cpu", copy=True) for name, tensor in module.state_dict().items()
    }
