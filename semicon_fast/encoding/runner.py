"""Runs a network from uint8 pixels to codes or features, overlapping computation and transfers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple, TypeVar

import numpy as np
import torch
from torch import Tensor

from ..arrays import check_choice
from ..codes import code_bytes, pack_codes
from ..data.transforms import Transform, query_transform
from ..models import HashModel, HashOutput, for_inference
from ..models.execution import AUTOCAST_DTYPES, autocast, compile_mode, compiles

OUTPUTS = ("codes", "features")
T = TypeVar("T")


class _Started(NamedTuple):
    """A batch in flight: values and a finiteness flag on the host, valid once `done` has occurred.

    `done` is None on the CPU.
    """

    values: Tensor
    finite: Tensor
    done: torch.cuda.Event | None


class Runner:
    """Encodes pixels, uint8 (B, 3, S, S), to packed codes, uint8 (B, ceil(bits / 8)), or features,
    float32 (B, F).

    Args:
        network: the hashing network, with `preprocess`. It is copied, see `for_inference`.
        device: "cpu", "cuda", "cuda:1" ...
        precision: "fp32", or "bf16" or "fp16" with autocast.
        compile: use torch.compile (on a GPU with CUDA graphs) for batches of the first batch's
            size; batches of other sizes use the uncompiled network.
        output: "codes", or "features" for the network's pooled features.

    Raises:
        ValueError: the network has no `preprocess`, or an unknown precision or output.
    """

    def __init__(
        self,
        network: HashModel,
        device: str | torch.device = "cpu",
        *,
        precision: str = "fp32",
        compile: bool = False,
        output: str = "codes",
    ) -> None:
        self.transform: Transform = query_transform(network.preprocess)
        self._output = check_choice(output, OUTPUTS, "output")
        if precision not in AUTOCAST_DTYPES:
            known = ", ".join(AUTOCAST_DTYPES)
            raise ValueError(f"precision must be one of {known}, got {precision!r}")
        self.device, self.bits = torch.device(device), network.code_length
        self._precision = precision
        self._network = for_inference(network).to(self.device)
        self._compiled: Callable[[Tensor], HashOutput] | None = None
        self._compiled_for = 0
        if compile and compiles(self.device.type):
            self._compiled = torch.compile(
                self._network, mode=compile_mode(self.device), dynamic=False
            )

    def __call__(self, pixels: Tensor) -> np.ndarray:
        """Values of one batch. Raises ValueError if the network's outputs are not finite."""
        return self._finish(self._start(pixels))

    def stream(self, batches: Iterable[tuple[Tensor, T]]) -> Iterator[tuple[np.ndarray, T]]:
        """Map (pixels, other) to (values, other), in order.

        On a GPU a batch is computed while the values of the previous one are copied to the host and
        the next one is decoded.
        """
        waiting: list[tuple[_Started, T]] = []
        for pixels, rest in batches:
            waiting.append((self._start(pixels), rest))
            if len(waiting) > (self.device.type == "cuda"):
                started, known = waiting.pop(0)
                yield self._finish(started), known
        for started, known in waiting:
            yield self._finish(started), known

    def _start(self, pixels: Tensor) -> _Started:
        with torch.inference_mode():
            if len(pixels) == 0:
                return _Started(self._empty(), torch.ones((), dtype=torch.bool), None)
            pixels = pixels.to(self.device, non_blocking=True)
            images = self.transform.normalised(pixels).to(memory_format=torch.channels_last)
            with autocast(self.device, self._precision):
                found = self._forward(images)
            if self._output == "features":
                values = found.features.float()
                finite = torch.isfinite(values).all()
            else:
                # As bool: for other dtypes pack_codes checks the values, which synchronises.
                values, finite = pack_codes(found.codes >= 0), torch.isfinite(found.codes).all()
            if self.device.type != "cuda":
                return _Started(values, finite, None)
            on_host = [_pinned(tensor) for tensor in (values, finite)]
            done = torch.cuda.Event()
            done.record(torch.cuda.current_stream(self.device))
            return _Started(on_host[0], on_host[1], done)

    def _empty(self) -> Tensor:
        if self._output == "features":
            return torch.empty(0, self._network.feature_size)
        return torch.empty(0, code_bytes(self.bits), dtype=torch.uint8)

    def _forward(self, images: Tensor) -> HashOutput:
        if self._compiled is None:
            return self._network(images)
        self._compiled_for = self._compiled_for or len(images)
        whole = len(images) == self._compiled_for
        return self._compiled(images) if whole else self._network(images)

    def _finish(self, started: _Started) -> np.ndarray:
        if started.done is not None:
            started.done.synchronize()
        if not bool(started.finite):
            raise ValueError(
                "the network's outputs are not finite: its weights contain NaN or infinity, or "
                "the precision is too low"
            )
        return started.values.numpy()


def _pinned(tensor: Tensor) -> Tensor:
    host = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True)
    return host.copy_(tensor, non_blocking=True)
