"""The package's only `torch.library.Library`, and the functions that register operators in it.

An operator has a schema, a plain PyTorch implementation for every device, a fake implementation
and, if it has gradients, a second operator for the backward pass. Faster implementations are
registered by dispatch key (`override`, or TORCH_LIBRARY_IMPL in C++); the dispatcher prefers them.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch._ops import OpOverload

NAMESPACE = "semicon_fast"

_LIBRARY = torch.library.Library(NAMESPACE, "DEF")
_DEFINED: list[str] = []
_AUTOCAST_KEYS = {"cuda": "AutocastCUDA", "cpu": "AutocastCPU"}


def define(schema: str, implementation: Callable[..., Any], fake: Callable[..., Any]) -> OpOverload:
    """Define an operator and register its implementation for every device.

    Args:
        schema: "name(Tensor x, int k) -> Tensor". No default values: the dispatcher drops
            arguments that equal them, and the gradient formulas count arguments.
        implementation: plain PyTorch, same arguments. Must not write into its inputs or return
            one of them.
        fake: same arguments; returns empty tensors with the shapes, dtypes and strides of
            `implementation`'s results.
    """
    name = schema.partition("(")[0]
    _LIBRARY.define(schema, tags=(torch.Tag.pt2_compliant_tag,))
    _LIBRARY.impl(name, implementation, "CompositeExplicitAutograd")
    torch.library.register_fake(f"{NAMESPACE}::{name}", fake, lib=_LIBRARY)
    op: OpOverload = getattr(getattr(torch.ops, NAMESPACE), name).default
    _DEFINED.append(name)
    torch.library.register_vmap(op, _refuse_vmap(name), lib=_LIBRARY)
    return op


def override(op: OpOverload, dispatch_key: str, implementation: Callable[..., Any]) -> None:
    """Register a faster implementation of `op` for one dispatch key ("CPU", "CUDA")."""
    _LIBRARY.impl(_name(op), implementation, dispatch_key)


def differentiable(
    op: OpOverload, backward: Callable[..., Any], setup_context: Callable[..., None]
) -> None:
    """Register the gradient formula of `op`; see `torch.library.register_autograd`."""
    torch.library.register_autograd(op, backward, setup_context=setup_context, lib=_LIBRARY)


def once_differentiable(op: OpOverload) -> None:
    """Make differentiation of the backward operator `op` raise an explanatory RuntimeError."""

    def refuse(ctx: Any, *grads: Tensor) -> None:
        forward = _name(op).removesuffix("_backward")
        raise RuntimeError(
            f"{NAMESPACE}.{forward} has first derivatives only; its gradient was differentiated "
            "a second time"
        )

    torch.library.register_autograd(op, refuse, lib=_LIBRARY)


def autocast(op: OpOverload, cast: Callable[..., tuple[Any, ...]] | None = None) -> None:
    """Register `op` for autocast on CPU and CUDA.

    Args:
        op: operator from `define`.
        cast: `cast(dtype, *arguments) -> arguments`, with the device's autocast dtype. None
            leaves the arguments unchanged. Either way autocast is disabled inside the
            implementation, which chooses its dtypes itself.
    """
    for device, key in _AUTOCAST_KEYS.items():
        _LIBRARY.impl(_name(op), _autocast_kernel(op, device, cast), key)


def cast_floating(value: Any, dtype: torch.dtype) -> Any:
    """`value` cast to `dtype` if it is a floating-point tensor other than float64.

    This is autocast's own rule; anything else is returned unchanged.
    """
    if not isinstance(value, Tensor) or not value.is_floating_point():
        return value
    return value if value.dtype is torch.float64 else value.to(dtype)


def _autocast_kernel(
    op: OpOverload, device: str, cast: Callable[..., tuple[Any, ...]] | None
) -> Callable[..., Any]:
    def kernel(*arguments: Any) -> Any:
        dtype = torch.get_autocast_dtype(device)
        with torch.autocast(device, enabled=False):
            return op(*(cast(dtype, *arguments) if cast else arguments))

    return kernel


def _refuse_vmap(name: str) -> Callable[..., Any]:
    def refuse(info: Any, in_dims: Any, *arguments: Any) -> Any:
        raise NotImplementedError(
            f"{NAMESPACE}.{name} already takes a batch and has no torch.func.vmap rule; "
            "put the mapped dimension into the batch dimension"
        )

    return refuse


def backends() -> dict[str, dict[str, str]]:
    """Operator -> {"cpu": ..., "cuda": ...}: which implementation is registered.

    "native" or "reference".
    """
    found = {}
    for name in sorted(_DEFINED):
        registered = {
            device: torch._C._dispatch_has_kernel_for_dispatch_key(f"{NAMESPACE}::{name}", key)
            for device, key in (("cpu", "CPU"), ("cuda", "CUDA"))
        }
        found[name] = {d: "native" if own else "reference" for d, own in registered.items()}
    return found


def _name(op: OpOverload) -> str:
    return str(op._schema.name).partition("::")[2]
