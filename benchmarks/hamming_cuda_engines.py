"""Engines that find the k nearest codes on a device: ours by each path, and other libraries.

An engine takes a problem, its queries and its database on the device, and returns a function whose
result is distances (Q, k), ascending, as a tensor or an array.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from hamming_cuda_cases import FAISS_K, Problem
from hamming_peers import NotHere
from torch import Tensor

import semicon_fast as sf
from semicon_fast import native
from semicon_fast.reference.hamming import unpack_bits

Run = Callable[[], Any]


def paths(device: str) -> list[str]:
    """Names of the paths (ways to compare pairs) on a device; empty without CUDA kernels."""
    usable = device.startswith("cuda") and native.load_cuda()
    return list(torch.ops.semicon_fast._cuda_paths()) if usable else []


def own(problem: Problem, index: sf.HammingIndex, queries: Tensor, way: str) -> Run:
    """way: "" for the automatically chosen path, "host arrays", or a path."""
    if way == "host arrays":
        asked = queries.cpu().numpy()
        return lambda: index.search(asked, problem.k)[0]
    path = way or "automatic"
    if way and path not in paths(queries.device.type):
        raise NotHere(f"no such path on {queries.device}")

    def run() -> Tensor:
        if way:
            torch.ops.semicon_fast._use_cuda_path(path)
        try:
            return index.search(queries, problem.k)[0]
        finally:
            if way:
                torch.ops.semicon_fast._use_cuda_path("automatic")

    return run


def path_taken(problem: Problem, queries: Tensor, way: str) -> str:
    """Name of the path that a search takes."""
    known = paths(queries.device.type)
    if not known:
        return "reference" if queries.is_cuda else "cpu"
    return way if way in known else str(torch.ops.semicon_fast._cuda_path(queries))


def evaluation(problem: Problem, codes: tuple[Tensor, Tensor], labels: Any, ties: str) -> Run:
    return lambda: sf.metrics.mean_average_precision(*codes, *labels, bits=problem.bits, ties=ties)


def matmul(problem: Problem, queries: Tensor, database: Tensor) -> Run:
    """Matrix product of codes as +-1 in half precision (exact up to 2,048 bits), then torch.topk.

    The database is unpacked in advance.
    """
    kind = torch.float16 if queries.is_cuda else torch.float32

    def signs(codes: Tensor) -> Tensor:
        parts = codes.split(1 << 18)
        return torch.cat([unpack_bits(part).to(kind).mul_(2).sub_(1) for part in parts])

    unpacked = signs(database)

    def run() -> Tensor:
        best = (signs(queries) @ unpacked.T).topk(problem.k).values
        return ((8 * queries.shape[1] - best.float()) / 2).to(torch.int32)

    return run


def faiss(problem: Problem, queries: Tensor, database: Tensor, where: str) -> Run:
    """faiss's GPU index. where: "host arrays", or "device tensors" passed by pointer."""
    try:
        import faiss as library
    except ImportError as error:
        raise NotHere(str(error)) from error
    if not hasattr(library, "GpuIndexBinaryFlat"):
        raise NotHere("this faiss has no GpuIndexBinaryFlat")
    if problem.k > FAISS_K:
        raise NotHere(f"k is at most {FAISS_K} there")
    resources = library.StandardGpuResources()
    index = library.GpuIndexBinaryFlat(resources, 8 * database.shape[1])
    index.add(database.cpu().numpy())
    if where == "host arrays":
        asked = queries.cpu().numpy()
        # The default argument keeps the resources alive as long as the index.
        return lambda resources=resources: index.search(asked, problem.k)[0]
    shape = len(queries), problem.k
    near = torch.empty(shape, dtype=torch.int32, device=queries.device)
    ids = torch.empty(shape, dtype=torch.int64, device=queries.device)

    def run(resources: Any = resources) -> Tensor:
        torch.cuda.current_stream().synchronize()  # faiss has its own streams
        index.search_c(
            len(queries),
            library.cast_integer_to_uint8_ptr(queries.data_ptr()),
            problem.k,
            library.cast_integer_to_int_ptr(near.data_ptr()),
            library.cast_integer_to_idx_t_ptr(ids.data_ptr()),
        )
        resources.syncDefaultStreamCurrentDevice()
        return near

    return run


def as_distances(found: Any) -> np.ndarray:
    return (found.cpu().numpy() if isinstance(found, Tensor) else found).astype(np.int64)
