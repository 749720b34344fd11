"""Retrieval metrics of a model's codes, by the side of the database, see `sides`."""

from typing import Any, NamedTuple

from torch import Tensor

from .. import metrics
from ..data import HashingData
from .sides import SIDES, check_side


class Codes(NamedTuple):
    """Packed uint8 codes of a dataset: encoded queries, and the database's from each side (None
    where there are none for all database images)."""

    queries: Tensor
    database: Tensor
    learned: Tensor | None
    centers: Tensor | None = None

    def by_way(self, side: str | None = None) -> dict[str, Tensor]:
        """Name of each way of computing the database's codes -> these codes.

        side: a key of `SIDES`, None for all that there are. Raises ValueError for any other, or
        one without codes.
        """
        found = {"learned": self.learned, "centers": self.centers, "encoded": self.database}
        there = {name: codes for name, codes in found.items() if codes is not None}
        check_side(side, there)
        return {SIDES[name]: codes for name, codes in there.items() if side in (None, name)}


def compute_metrics(
    codes: Codes, data: HashingData, bits: int, side: str | None = None, **options: Any
) -> dict[str, Any]:
    """The result of `metrics.evaluate` for each way of computing the database's codes.

    mAP is the expectation over the order of ties, and the other tie rules are reported too: short
    codes have very many ties, so that without averaging the order of the database would matter,
    especially for datasets sorted by class. side: see `Codes.by_way`. Options are passed on to
    `metrics.evaluate`.
    """
    return {
        way: metrics.evaluate(
            codes.queries,
            database,
            data.query.labels,
            data.database.labels,
            bits=bits,
            ties="expected",
            all_ties=True,
            **options,
        )
        for way, database in codes.by_way(side).items()
    }
