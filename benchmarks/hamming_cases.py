"""The cases of hamming_rank.py, and their codes and labels."""

from dataclasses import dataclass

import numpy as np

ALL = ("semicon_fast", "faiss", "usearch", "numkong", "numpy", "torch matmul")
FAISS = ("semicon_fast", "faiss")
RANKINGS = ("semicon_fast, rank into", "semicon_fast, rank", "torch.argsort", "torch.sort into")
EVALUATIONS = ("semicon_fast, expected", "semicon_fast, stable", "released loop")
MILLION = 1_000_000
CLASSES = 292  # number of VegFru's classes, for the cases with labels


@dataclass(frozen=True)
class Case:
    """A search, or an evaluation of a ranking by labels, and the engines that run it.

    kind: "random" codes; "learned": 8 distinct codes for each of 200 classes; "learned, queries
    off": the same, but each query has three of its bits flipped.
    """

    name: str
    bits: int
    queries: int
    k: int
    codes: int = 4 * MILLION
    engines: tuple[str, ...] = FAISS
    kind: str = "random"

    @property
    def evaluation(self) -> bool:
        return self.engines is EVALUATIONS


def _searches() -> list[Case]:
    cases = []
    for queries in (16, 256, 1000):
        for k in (10, 100, 1000):
            engines = ALL if (queries, k) == (256, 100) else FAISS
            name = f"64 bits, {queries} queries, k = {k}"
            cases.append(Case(name, 64, queries, k, engines=engines))
    for bits in (12, 24, 32, 48, 128, 256, 1024):
        cases.append(Case(f"{bits} bits, 256 queries, k = 100", bits, 256, 100))
    return cases


CASES = [
    *_searches(),
    Case("one query, 64 bits, 64 million codes", 64, 1, 100, 64 * MILLION),
    Case("learned codes, 48 bits, 10 million", 48, 256, 100, 10 * MILLION, kind="learned"),
    Case("learned codes, queries off", 48, 256, 100, 10 * MILLION, kind="learned, queries off"),
    Case("full ranking of 29,200 by 1,000 at 48 bits", 48, 1000, 29_200, 29_200, RANKINGS),
    Case("mAP of 116,931 on 29,200 at 48 bits", 48, 116_931, 29_200, 29_200, EVALUATIONS),
]


def draw(case: Case) -> tuple[np.ndarray, np.ndarray]:
    """(queries, database), packed uint8 (n, bytes), unused bits 0."""
    generator = np.random.default_rng(0)
    width = (case.bits + 7) // 8

    def codes(count: int) -> np.ndarray:
        made = np.frombuffer(generator.bytes(count * width), np.uint8).reshape(count, width).copy()
        if case.bits % 8:
            made[:, -1] &= (1 << case.bits % 8) - 1
        return made

    if case.kind == "random":
        return codes(case.queries), codes(case.codes)
    distinct = codes(8 * 200)
    queries, database = (
        distinct[generator.integers(len(distinct), size=n)] for n in (case.queries, case.codes)
    )
    if case.kind == "learned, queries off":
        for _ in range(3):
            bits = generator.integers(case.bits, size=case.queries)
            queries[np.arange(case.queries), bits // 8] ^= (1 << bits % 8).astype(np.uint8)
    return queries, database


def draw_labels(case: Case) -> tuple[np.ndarray, np.ndarray]:
    """(query labels, database labels), int64; database classes are as balanced as possible."""
    generator = np.random.default_rng(1)
    own = generator.permutation(np.arange(case.codes) % CLASSES)
    return generator.integers(CLASSES, size=case.queries), own
