"""Retrieval metrics of a model's codes, by the side of the database.

Codes of the queries are always the network's. Those of the database can come from three sides,
whose figures are not comparable and are always reported apart: see `SIDES`.
"""

from typing import Any, NamedTuple

from torch import Tensor

from .. import metrics
from ..data import HashingData

ASYMMETRIC = "asymmetric (learned database codes)"
CENTERS = "asymmetric (class centers)"
SYMMETRIC = "symmetric (encoded database)"

# The side of the database's codes -> what figures and tables call it. "learned": codes of single
# images, learned with the labels of the database images. "centers": label codes, of a database
# image the center of its class. "encoded": the network's codes of the database images.
SIDES = {"learned": ASYMMETRIC, "centers": CENTERS, "encoded": SYMMETRIC}


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


def check_side(side: str | None, there: Any) -> None:
    """Raises ValueError unless `side` is None or among `there`, the sides that have codes."""
    if side is not None and side not in SIDES:
        raise ValueError(f"database must be one of {', '.join(SIDES)}, got {side!r}")
    if side is not None and side not in there:
        raise ValueError(
            f"database must be {' or '.join(there)}, for which this run has codes of all database "
            f"images, got {side!r}"
        )


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
