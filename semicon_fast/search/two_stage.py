"""Search in two stages: candidates by their codes, ordered by real-valued features."""

import os
import zlib
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..arrays import Array, as_features, check_choice, check_finite, check_integer, like
from . import _features
from ._features import FeatureRows
from .index import HammingIndex
from .reranking import METRICS, ordered

INDEX, FEATURES = "index.hamming", "features.safetensors"


class TwoStageIndex:
    """Nearest neighbours by features among the candidates that an index of codes finds.

    Args:
        index: a `HammingIndex`, or another index with `bits`, `ids()` and `search(queries, k)`. Its
            codes must stay the same; a search raises ValueError if their number has changed.
        features: floating (N, F), finite, one row for each code in ascending order of id: row i
            belongs to id i where ids are 0..N - 1. A memory-mapped array of float32 stays in its
            file.
        metric: "euclidean", "cosine" (1 - cosine of the angle; 1 for a zero vector), or
            "inner_product" (its negative).
        stored: how the features are kept: "float32", "float16" or "int8". For int8 each row is
            divided by its largest magnitude / 127 and rounded, and that factor kept in float32.
            Distances are those of the float32 values of what is kept.

    Raises TypeError or ValueError naming the argument.
    """

    def __init__(
        self, index: Any, features: Array, metric: str = "euclidean", *, stored: str = "float32"
    ) -> None:
        self._set(index, _features.stored(features, stored, "features"), metric)

    def _set(self, index: Any, rows: FeatureRows, metric: str) -> None:
        self.metric = check_choice(metric, METRICS, "metric")
        if not callable(getattr(index, "search", None)) or not hasattr(index, "ids"):
            raise TypeError(f"index must be an index of codes, got {type(index).__name__}")
        if len(rows) != len(index):
            raise ValueError(
                f"features must have a row for each of the {len(index)} codes of the index, got "
                f"{len(rows)}"
            )
        self.index, self._rows = index, rows
        ids = torch.from_numpy(index.ids())
        self._ids = None if torch.equal(ids, torch.arange(len(ids))) else ids

    def __len__(self) -> int:
        return len(self._rows)

    def __repr__(self) -> str:
        kept = f"{self._rows.width} values of {self._rows.stored}"
        return f"TwoStageIndex({self.index!r}, {kept}, metric={self.metric!r})"

    def search(
        self,
        queries: Array | None,
        query_features: Array,
        k: int,
        *,
        candidates: int = 1000,
        outputs: Array | None = None,
        subset: Any = None,
        exact: bool = True,
    ) -> tuple[Array, Array]:
        """The k nearest by features of the candidates by codes, ascending by (distance, id).

        Args:
            queries: codes uint8 (Q, bytes); None with `outputs`.
            query_features: floating (Q, F), finite.
            k: at least 1.
            candidates: the first stage's k, at least the second's.
            outputs: see `HammingIndex.search`: candidates by asymmetric scores.
            subset: see `HammingIndex.search`.
            exact: False: an index of tables stops as soon as it has found so many candidates
                (`MultiIndex.search`, where this means the same).

        Returns distances float32 (Q, k) and ids int64 (Q, k), like `query_features`; where there
        are fewer candidates padded with inf and -1. Raises TypeError or ValueError naming the
        argument.
        """
        k = check_integer(k, "k", 1)
        candidates = check_integer(candidates, "candidates", 1)
        if candidates < k:
            raise ValueError(f"candidates must be at least k, {k}, got {candidates}")
        asked = check_finite(as_features(query_features, "query_features"), "query_features")
        if asked.shape[1] != self._rows.width:
            raise ValueError(
                f"query_features must be (Q, {self._rows.width}) as the features, got "
                f"{tuple(asked.shape)}"
            )
        first = outputs if queries is None else queries
        if first is not None and len(first) != len(asked):
            raise ValueError(
                f"query_features must have a row for each of the {len(first)} queries, got "
                f"{len(asked)}"
            )
        if len(self.index) != len(self):
            raise ValueError(
                f"the index has {len(self.index)} codes, but the features are those of {len(self)}"
            )
        found = self._candidates(queries, outputs, candidates, subset, exact)
        near, ids = self._ordered(asked.to("cpu", torch.float32), found, k)
        return like(near, query_features), like(ids, query_features)

    def _candidates(
        self, queries: Any, outputs: Any, count: int, subset: Any, exact: bool
    ) -> Tensor:
        options: dict[str, Any] = {}
        if outputs is not None:
            options["outputs"] = outputs
        if subset is not None:
            options["subset"] = subset
        if not exact:
            if isinstance(self.index, HammingIndex):
                raise ValueError("exact=False needs an index of tables, got a HammingIndex")
            options |= {"candidates": count, "exact": False}
        return torch.as_tensor(self.index.search(queries, count, **options)[1]).cpu()

    def _ordered(self, queries: Tensor, found: Tensor, k: int) -> tuple[Tensor, Tensor]:
        def take(ids: Tensor, out: Tensor) -> None:
            rows = ids if self._ids is None else torch.searchsorted(self._ids, ids)
            self._rows.take(rows, out)

        # -1 stands for no candidate, and is looked up as the first one.
        first = 0 if self._ids is None or not len(self._ids) else int(self._ids[0])
        return ordered(queries, take, found, k, self.metric, absent=first)

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Writes two files into a folder, which is made if need be: `index.hamming` as
        `HammingIndex.save`, and `features.safetensors`.

        Each replaces an older one in one step. The file of features names the checksum of its
        index, so that two that do not belong together, as after an interruption, are not opened as
        one. Raises OSError, and TypeError if the index is not a `HammingIndex`.
        """
        if not isinstance(self.index, HammingIndex):
            raise TypeError(
                "only a TwoStageIndex with a HammingIndex can be saved, got "
                f"{type(self.index).__name__}"
            )
        target = Path(folder)
        if target.exists() and not target.is_dir():
            raise NotADirectoryError(f"could not write to {target}: it is a file, not a folder")
        self.index.save(target / INDEX)
        checksum = _checksum(target / INDEX)
        _features.write(target / FEATURES, self._rows, self.metric, checksum)

    @classmethod
    def load(
        cls, folder: str | os.PathLike[str], device: str | torch.device = "cpu"
    ) -> "TwoStageIndex":
        """Opens what `save` wrote: codes and features are memory-mapped, not read.

        device: where the codes are compared; features stay on the CPU. Raises ValueError if a file
        is rejected or they do not belong together, OSError if one cannot be opened.
        """
        path = Path(folder)
        rows, about = _features.read(path / FEATURES)
        index = HammingIndex.load(path / INDEX, device)
        if about.get("index") != _checksum(path / INDEX):
            raise ValueError(
                f"{path} is damaged: {FEATURES} belongs to another index than {INDEX}; save it "
                "again"
            )
        result = cls.__new__(cls)
        result._set(index, rows, about.get("metric", ""))
        return result


def _checksum(path: Path) -> str:
    """Of the header of an index file, which holds a checksum of the rest, and last its own: with
    that one the checksum would be the same of all."""
    with open(path, "rb") as file:
        return f"{zlib.crc32(file.read(124)):08x}"
