"""Retrieval metrics of a model's codes.

There are two ways to obtain the database's codes, which are always reported apart: "asymmetric"
uses the codes that were learned with the labels of the database images, "symmetric" encodes these
images with the network.
"""

from typing import Any, NamedTuple

from torch import Tensor

from .. import metrics
from ..data import HashingData

ASYMMETRIC = "asymmetric (learned database codes)"
SYMMETRIC = "symmetric (encoded database)"


class Codes(NamedTuple):
    """Packed uint8 codes of a dataset: encoded queries, encoded database, and learned codes of the
    database (None if the method did not learn codes for all database images)."""

    queries: Tensor
    database: Tensor
    learned: Tensor | None


def compute_metrics(codes: Codes, data: HashingData, bits: int, **options: Any) -> dict[str, Any]:
    """The result of `metrics.evaluate` for each way of computing the database's codes.

    mAP is the expectation over the order of ties, and the other tie rules are reported too: short
    codes have very many ties, so that without averaging the order of the database would matter,
    especially for datasets sorted by class. Options are passed on to `metrics.evaluate`.
    """
    ways = {SYMMETRIC: codes.database}
    if codes.learned is not None:
        ways = {ASYMMETRIC: codes.learned, **ways}
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
        for way, database in ways.items()
    }
