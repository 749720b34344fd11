"""How far apart centers of classes are, and how long they take.

For each number of bits and classes of the SHC paper: the distance that the Gilbert-Varshamov rule
demands, and of each kind of codebook the least and the mean distance, the correlation of its inner
products with the similarities of the classes, and seconds. The classes are in groups of ten whose
features differ little, from a fixed seed.

    python benchmarks/centers.py --csv benchmarks/results/centers.csv
"""

import argparse
import csv
import sys
import time
from functools import partial

import torch

from semicon_fast import centers

SIZES = ((16, 100), (32, 200), (48, 200), (64, 555))
COLUMNS = ("bits", "classes", "demanded", "kind", "least", "mean", "correlation", "seconds")


def similarity(classes: int, bits: int) -> torch.Tensor:
    draws = torch.Generator().manual_seed(0)
    middle = torch.randn(-(-classes // 10), 64, generator=draws).repeat_interleave(10, 0)[:classes]
    return centers.class_similarity(middle + 0.7 * torch.randn(middle.shape, generator=draws), bits)


def correlation(found: torch.Tensor, wanted: torch.Tensor) -> float:
    row, column = torch.triu_indices(len(found), len(found), 1)
    products = (found.double() @ found.double().T)[row, column]
    return float(torch.corrcoef(torch.stack([products, (wanted + wanted.T)[row, column]]))[0, 1])


def rows(sizes: list[tuple[int, int]], sweeps: int):
    for bits, classes in sizes:
        wanted = similarity(classes, bits)
        semantic = partial(centers.semantic, similarity=wanted, sweeps=sweeps)
        kinds = {"random": centers.random, "greedy": centers.greedy, "semantic": semantic}
        for kind, make in kinds.items():
            begun = time.perf_counter()
            found = make(classes, bits, torch.Generator().manual_seed(0))
            seconds = time.perf_counter() - begun
            least, mean = centers.quality(found)
            demanded = centers.gilbert_varshamov(classes, bits)
            likeness = correlation(found, wanted)
            yield (
                *(bits, classes, demanded, kind, least),
                *(f"{mean:.2f}", f"{likeness:.3f}", f"{seconds:.2f}"),
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--csv", help="also write the rows to this file")
    parser.add_argument("--sizes", nargs="+", help="bits,classes; by default the paper's")
    parser.add_argument("--sweeps", type=int, default=20)
    given = parser.parse_args()
    sizes = [tuple(map(int, size.split(","))) for size in given.sizes or ()] or list(SIZES)
    found = [COLUMNS]
    print("  ".join(f"{name:>11}" for name in COLUMNS))
    for row in rows(sizes, given.sweeps):
        found.append(row)
        print("  ".join(f"{value!s:>11}" for value in row), flush=True)
    if given.csv:
        with open(given.csv, "w", newline="", encoding="utf-8") as file:
            csv.writer(file, lineterminator="\n").writerows(found)
    missed = [row for row in found[1:] if row[3] == "semantic" and row[4] < row[2]]
    sys.exit(f"the least distance was not reached: {missed}" if missed else 0)


if __name__ == "__main__":
    main()
