"""How well do hashers of frozen features retrieve, beside the features themselves?

For each file of features (`lite0_features.py` writes them), hasher and number of bits: mAP of the
test rows as queries on the training rows as the database, both encoded, ties averaged out. The
first row of a file is exact search by the cosine of the features.

    python benchmarks/shallow.py features/cub100.npz features/grocery81.npz
"""

import argparse
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from harness import RESULTS, command, environment, merge_rows

from semicon_fast import metrics, shallow

BITS = (12, 24, 32, 48, 64)
ARRAYS = ("train_features", "train_labels", "test_features", "test_labels")
KEY = ("data", "hasher", "bits")


def cosine_map(arrays: dict[str, np.ndarray]) -> float:
    """mAP of the training rows in descending order of their cosine with each test row."""
    train, test = (
        torch.nn.functional.normalize(torch.from_numpy(arrays[f"{side}_features"]).double())
        for side in ("train", "test")
    )
    labels = torch.from_numpy(arrays["train_labels"])
    found = []
    for query, label in zip(test, torch.from_numpy(arrays["test_labels"]), strict=True):
        order = (train @ query).argsort(descending=True, stable=True)
        relevant = (labels[order] == label).double()
        precision = relevant.cumsum(0) / torch.arange(1, len(order) + 1)
        found.append(float((precision * relevant).sum() / relevant.sum().clamp(min=1)))
    return float(np.mean(found))


def hashed(arrays: dict[str, np.ndarray], name: str, bits: int) -> float:
    """mAP of a hasher's codes, both sides encoded."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # more bits than classes have directions
        hasher = shallow.build(name, bits).fit(arrays["train_features"], arrays["train_labels"])
    return metrics.mean_average_precision(
        hasher.encode(arrays["test_features"]),
        hasher.encode(arrays["train_features"]),
        arrays["test_labels"],
        arrays["train_labels"],
        bits=bits,
        ties="expected",
    )


def rows_of(path: Path, names: list[str], lengths: list[int]) -> Iterator[dict[str, Any]]:
    with np.load(path) as file:
        arrays = {name: file[name] for name in ARRAYS}
    common = {
        "queries": len(arrays["test_features"]),
        "database": len(arrays["train_features"]),
        "features": arrays["train_features"].shape[1],
        **environment(),
        "command": command(),
    }

    def row(hasher: str, bits: int | str, score: float) -> dict[str, Any]:
        return {"data": path.stem, "hasher": hasher, "bits": bits, "mAP": score, **common}

    yield row("cosine of the features", "float", cosine_map(arrays))
    for name in names:
        for bits in lengths:
            yield row(name, bits, hashed(arrays, name, bits))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("files", nargs="+", type=Path)
    parser.add_argument("--hashers", nargs="+", choices=shallow.NAMES, default=shallow.NAMES)
    parser.add_argument("--bits", nargs="+", type=int, default=BITS)
    parser.add_argument("--csv", type=Path, default=RESULTS / "shallow.csv")
    given = parser.parse_args()
    for file in given.files:
        for row in rows_of(file, given.hashers, given.bits):
            merge_rows(given.csv, [row], KEY)
            named = f"{row['data']:12} {row['hasher']:22} {row['bits']:>5}"
            print(f"{named}  mAP {row['mAP']:.4f}", flush=True)


if __name__ == "__main__":
    main()
