"""The protocol table of ExchNet's supplement (ECCV 2020)."""

from .semicon import fraction
from .study import Missing, Row, Study

PRECISION_AT_10 = "precision@10"
CANDIDATES = (1000, 2000, 3000, 4000, 5000)
# (dimensions, table length) -> precision@10 in percent and query time at each number of candidates.
TABLE1 = {
    (512, 8): ((70.37, 75.80, 77.23, 78.00, 78.39), (10.26, 18.49, 30.59, 35.00, 55.13)),
    (512, 16): ((73.11, 76.50, 77.69, 78.29, 78.63), (12.65, 26.24, 40.54, 61.20, 69.71)),
    (1024, 8): ((70.67, 76.18, 77.62, 78.43, 78.76), (15.30, 32.64, 44.54, 66.94, 86.43)),
    (1024, 16): ((73.44, 76.86, 78.06, 78.64, 78.97), (17.34, 44.38, 56.57, 75.80, 150.86)),
}


def studies() -> tuple[Study, ...]:
    """The studies of the supplement."""
    reason = "is measured by benchmarks/protocol.py, on features, not yet as a part of this study"
    rows = tuple(
        Row(
            f"{dim}-L{length}-N{count}",
            (str(dim), str(length), str(count), f"{time:.2f}"),
            Missing(reason),
            Missing(reason),
            {PRECISION_AT_10: fraction(precision)},
        )
        for (dim, length), (precisions, times) in TABLE1.items()
        for count, precision, time in zip(CANDIDATES, precisions, times, strict=True)
    )
    return (
        Study(
            name="exchnet-table1",
            title="Candidates by hash tables, re-ranked by real-valued features, on Food101",
            source="ExchNet (ECCV 2020), supplement, Table 1",
            protocol="Precision of the first 10 hits, after the N candidates that lookup in tables "
            "of L bits found are ordered by the distance of their features. The paper gives the "
            "query time without a unit.",
            columns=("dimensions", "L", "N", "query time in the paper"),
            rows=rows,
            metrics=(PRECISION_AT_10,),
            small="As published; no row can be run yet.",
        ),
    )
