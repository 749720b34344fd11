"""The cases of hamming_cuda.py, and their codes and labels, generated on the device."""

from dataclasses import dataclass, replace

import torch
from hamming_cases import CLASSES, Case
from torch import Tensor

OWN = ("semicon_fast",)
# The automatic choice, and each path (way to compare pairs of codes).
PATHS = (*OWN, "semicon_fast, popcount", "semicon_fast, binary", "semicon_fast, int8")
HOST = "semicon_fast, host arrays"
FAISS = (*OWN, HOST, "faiss GPU, host arrays", "faiss GPU, device tensors")
EVALUATIONS = ("semicon_fast, expected", "semicon_fast, stable")
MILLION = 1_000_000
FAISS_K = 2048  # the largest k of faiss


@dataclass(frozen=True)
class Problem(Case):
    """A case, and what limits its speed: "memory" or the inner "loop"."""

    bound: str = "loop"

    @property
    def evaluation(self) -> bool:
        return self.engines is EVALUATIONS


def _problems() -> list[Problem]:
    found = [
        Problem(
            f"{queries} of 1 billion, 64 bits, k = 100",
            64,
            queries,
            100,
            1000 * MILLION,
            OWN,
            bound="memory",
        )  # fmt: skip
        for queries in (1, 4)
    ]
    for millions in (16, 256):
        for bits in (64, 128):
            name = f"10,000 of {millions} million, {bits} bits, k = 100"
            found.append(Problem(name, bits, 10_000, 100, millions * MILLION, PATHS))
    for bits in (256, 1024):
        name = f"10,000 of 16 million, {bits} bits, k = 100"
        found.append(Problem(name, bits, 10_000, 100, 16 * MILLION, PATHS))
    for k in (1, 10, 1000, 10_000, 100_000):
        name = f"1,000 of 16 million, 64 bits, k = {k:,}"
        found.append(Problem(name, 64, 1000, k, 16 * MILLION, OWN))
    found += [
        Problem("mAP of 116,931 on 29,200, 48 bits", 48, 116_931, 29_200, 29_200, EVALUATIONS),
        Problem(
            "matmul and topk, 64 bits, k = 100",
            64, 2000, 100, 8 * MILLION, (*OWN, "torch matmul + topk"),
        ),
    ]  # fmt: skip
    for bits in (64, 128, 256, 1024):
        for queries in (1, 32, 10_000):
            for k in (10, 100, 1000):
                name = f"faiss: {queries:,} of 4 million, {bits} bits, k = {k:,}"
                found.append(Problem(name, bits, queries, k, 4 * MILLION, FAISS))
    name = "mAP of 1 million on 1 million, 64 bits"
    return [*found, Problem(name, 64, MILLION, MILLION, MILLION, EVALUATIONS)]


PROBLEMS = _problems()


def quick(problem: Problem) -> Problem:
    """A small version, to check on any machine that it runs."""
    codes = max(problem.codes // 64_000, 2000)
    k = codes if problem.evaluation else min(problem.k, codes)
    return replace(problem, codes=codes, queries=min(problem.queries, 60), k=k)


def fitted(problem: Problem, free: int) -> Problem:
    """Limits the number of codes to what fits on a device with `free` bytes: adding codes to an
    index needs them twice, and matmul and topk need all products and the workspace of topk."""
    width = (problem.bits + 7) // 8
    codes = min(problem.codes, free // (3 * width))
    if "torch matmul + topk" in problem.engines:
        codes = min(codes, free // (2 * problem.bits + 6 * problem.queries))
    k = codes if problem.evaluation else min(problem.k, codes)
    return replace(problem, codes=codes, k=k)


def draw(problem: Problem, device: str) -> tuple[Tensor, Tensor]:
    """(queries, database), random, packed uint8 (n, bytes), on the device."""
    generator = torch.Generator(device).manual_seed(0)
    width = (problem.bits + 7) // 8

    def codes(count: int) -> Tensor:
        made = torch.empty(count, width, dtype=torch.uint8, device=device)
        for rows in made.split(max(1, (1 << 28) // width)):
            rows.random_(0, 256, generator=generator)
        if problem.bits % 8:
            made[:, -1] &= (1 << problem.bits % 8) - 1
        return made

    return codes(problem.queries), codes(problem.codes)


def draw_labels(problem: Problem, device: str) -> tuple[Tensor, Tensor]:
    """(query labels, database labels), int64; database classes are as balanced as possible."""
    generator = torch.Generator(device).manual_seed(1)
    order = torch.randperm(problem.codes, generator=generator, device=device)
    asked = torch.randint(CLASSES, (problem.queries,), generator=generator, device=device)
    return asked, order % CLASSES
