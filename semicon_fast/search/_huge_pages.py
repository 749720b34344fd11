"""Huge pages for large buffers."""

import ctypes
import sys

from torch import Tensor

_PAGE = 2 << 20
_MADV_HUGEPAGE = 14  # <asm-generic/mman-common.h>


def prefer_large_pages(buffer: Tensor) -> None:
    """Advises Linux to back a CPU buffer with 2 MiB pages; call it before the first write.

    With 4 KiB pages a pass over many gigabytes is limited by address translation (TLB misses), not
    by memory bandwidth. On other systems, or if the advice is refused, nothing changes.
    """
    first = -(-buffer.data_ptr() // _PAGE) * _PAGE
    size = (buffer.data_ptr() + buffer.nbytes) // _PAGE * _PAGE - first
    if sys.platform == "linux" and buffer.device.type == "cpu" and size > 0:
        libc = ctypes.CDLL(None)
        libc.madvise(ctypes.c_void_p(first), ctypes.c_size_t(size), _MADV_HUGEPAGE)
