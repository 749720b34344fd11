"""Copies codes from host memory to a device block by block, overlapping copies with searches."""

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import torch
from torch import Tensor


def blocks_on(codes: Tensor, device: torch.device, rows: int) -> Iterator[tuple[int, Tensor]]:
    """Yields (first row, block of up to `rows` rows on `device`) for codes uint8 (N, bytes).

    Blocks come in order. Each is valid until the next one is requested, and must be read on the
    stream that was current at the first request. Two blocks are allocated on the device. Codes that
    are already there are not copied.
    """
    starts = range(0, len(codes), rows)
    if device == codes.device:
        for start in starts:
            yield start, codes[start : start + rows]
    else:
        copies = _DoubleBuffer(codes, device, min(rows, len(codes)))
        try:
            for number, start in enumerate(starts):
                following = codes[start + rows : start + 2 * rows]
                yield start, copies.next(codes[start : start + rows], following, number)
        finally:
            copies.close()


class _DoubleBuffer:
    """Two buffers on the device, filled alternately by a separate thread on a separate stream.

    Memory that is not pinned is copied through two pinned buffers, since only copies from pinned
    memory are asynchronous. The thread fills those, so that neither the search nor the caller waits
    for host memory.
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
        # The allocator may hand out memory that earlier work of the reader's stream still uses.
        self._copier.wait_stream(self._reader)

    def next(self, block: Tensor, following: Tensor, number: int) -> Tensor:
        """Returns block `number` on the device, and starts copying `following`, the next one."""
        if self._coming is None:
            self._send(block, number)
        else:
            self._coming.result()
        self._reader.wait_event(self._arrived[number])
        # Everything launched so far read at most the previous block.
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
                # Recorded when block number - 1 was returned: after all reads of number - 2.
                self._copier.wait_event(self._read[number - 1])
            buffer.copy_(block, non_blocking=True)
            self._arrived.append(self._copier.record_event())

    def close(self) -> None:
        """Waits for the copies, also after an error, before the buffers' memory can be reused."""
        self._thread.shutdown()
        self._reader.wait_stream(self._copier)
