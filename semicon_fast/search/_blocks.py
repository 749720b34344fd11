"""Codes of the host, block after block on a device, the next one on its way while one is read."""

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import torch
from torch import Tensor


def blocks_on(codes: Tensor, device: torch.device, rows: int) -> Iterator[tuple[int, Tensor]]:
    """(first row, up to `rows` rows on `device`), all of codes uint8 (N, bytes) in order.

    A block may be read until the next one is asked for, by the stream that is current then. On the
    device there is room for two blocks. Codes that lie on it already are not copied.
    """
    starts = range(0, len(codes), rows)
    if device == codes.device:
        for start in starts:
            yield start, codes[start : start + rows]
    else:
        copies = _Copies(codes, device, min(rows, len(codes)))
        try:
            for number, start in enumerate(starts):
                following = codes[start + rows : start + 2 * rows]
                yield start, copies.next(codes[start : start + rows], following, number)
        finally:
            copies.close()


class _Copies:
    """Two buffers on the device, filled in turn by a thread and a stream of their own.

    Memory that is not pinned goes through two pinned buffers: only from such memory a copy goes on
    by itself. The thread fills them, so that neither search nor caller waits for the host's memory.
    """

    def __init__(self, codes: Tensor, device: torch.device, rows: int) -> None:
        self._device = device
        self._reader = torch.cuda.current_stream(device)
        self._copier = torch.cuda.Stream(device)
        self._buffers = [codes.new_empty(rows, codes.shape[1], device=device) for _ in range(2)]
        shape = 0 if codes.is_pinned() else rows
        self._staging = [
            torch.empty(shape, codes.shape[1], dtype=codes.dtype, pin_memory=True) for _ in range(2)
        ]
        self._arrived: list[torch.cuda.Event] = []
        self._read: list[torch.cuda.Event] = []
        self._coming: Future[None] | None = None
        self._thread = ThreadPoolExecutor(1, "semicon_fast-copies")
        # What the reader did with this memory before it was given to the buffers.
        self._copier.wait_stream(self._reader)

    def next(self, block: Tensor, following: Tensor, number: int) -> Tensor:
        """Block `number` on the device, ready for the reader; the following one sets out."""
        if self._coming is None:
            self._send(block, number)
        else:
            self._coming.result()
        self._reader.wait_event(self._arrived[number])
        # Whatever was launched up to now read the block before this one.
        self._read.append(self._reader.record_event())
        if len(following):
            self._coming = self._thread.submit(self._send, following, number + 1)
        return self._buffers[number % 2][: len(block)]

    def _send(self, block: Tensor, number: int) -> None:
        buffer = self._buffers[number % 2][: len(block)]
        with torch.cuda.device(self._device), torch.cuda.stream(self._copier):
            if len(self._staging[0]):
                if number >= 2:
                    self._arrived[number - 2].synchronize()
                block = self._staging[number % 2][: len(block)].copy_(block)
            if number >= 2:
                # Recorded when block number - 1 was handed out: block number - 2 was read by then.
                self._copier.wait_event(self._read[number - 1])
            buffer.copy_(block, non_blocking=True)
            self._arrived.append(self._copier.record_event())

    def close(self) -> None:
        """Also after an error: nobody gets the buffers' memory before the copies are done."""
        self._thread.shutdown()
        self._reader.wait_stream(self._copier)
