"""Memory of a CUDA device that one stream fills and others read."""

import torch
from torch import Tensor


class Filled:
    """Tensors as they are once the stream that is current now has done what it was told.

    On other devices nothing waits, and this does nothing. Inside a CUDA graph's capture it does
    nothing either: capturing begins with a wait for all streams, and whoever replays a graph keeps
    what it reads.
    """

    def __init__(self, *tensors: Tensor | None) -> None:
        self._tensors = [tensor for tensor in tensors if tensor is not None and tensor.is_cuda]
        if not self._tensors or torch.cuda.is_current_stream_capturing():
            self._tensors = []
            return
        self._stream = torch.cuda.current_stream(self._tensors[0].device)
        self._event = self._stream.record_event()

    def join(self) -> None:
        """The current stream goes on after that, and the memory is kept until it has read it."""
        if not self._tensors or torch.cuda.is_current_stream_capturing():
            return
        stream = torch.cuda.current_stream(self._tensors[0].device)
        if stream == self._stream:
            return
        stream.wait_event(self._event)
        for tensor in self._tensors:
            tensor.record_stream(stream)
