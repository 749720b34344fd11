"""Synchronises CUDA memory that one stream writes and others read."""

import torch
from torch import Tensor


class PendingWrites:
    """Tensors that are complete once the work queued on the current stream so far has finished.

    For tensors on other devices it does nothing. It also does nothing while a CUDA graph is
    captured: a capture begins with a wait for all streams, and whoever replays a graph must keep
    the tensors that it reads.
    """

    def __init__(self, *tensors: Tensor | None) -> None:
        self._tensors = [tensor for tensor in tensors if tensor is not None and tensor.is_cuda]
        if not self._tensors or torch.cuda.is_current_stream_capturing():
            self._tensors = []
            return
        self._stream = torch.cuda.current_stream(self._tensors[0].device)
        self._event = self._stream.record_event()

    def wait(self) -> None:
        """Makes the current stream wait for that work, and keeps the memory until it is read."""
        if not self._tensors or torch.cuda.is_current_stream_capturing():
            return
        stream = torch.cuda.current_stream(self._tensors[0].device)
        if stream == self._stream:
            return
        stream.wait_event(self._event)
        for tensor in self._tensors:
            tensor.record_stream(stream)
