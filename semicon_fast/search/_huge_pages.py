"""Large pages under large buffers."""

import ctypes
import sys

from torch import Tensor

_PAGE = 2 << 20
_MADV_HUGEPAGE = 14  # <asm-generic/mman-common.h>


def prefer_large_pages(buffer: Tensor) -> None:
    """Asks Linux for pages of 2 MiB under a CPU buffer that nothing was written to yet.

    A pass over many gigabytes otherwise waits for the translation of every 4 KiB; the whole
    bandwidth of memory takes large pages. Only advice: elsewhere, or refused, nothing changes.
    """
    first = -(-buffer.data_ptr() // _PAGE) * _PAGE
    size = (buffer.data_ptr() + buffer.nbytes) // _PAGE * _PAGE - first
    if sys.platform == "linux" and buffer.device.type == "cpu" and size > 0:
        libc = ctypes.CDLL(None)
        libc.madvise(ctypes.c_void_p(first), ctypes.c_size_t(size), _MADV_HUGEPAGE)
