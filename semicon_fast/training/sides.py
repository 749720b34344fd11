"""The sides that codes of the database can come from. Does not import torch.

Codes of the queries are always the network's. Figures of different sides are not comparable and are
always reported apart.
"""

from collections.abc import Collection

ASYMMETRIC = "asymmetric (learned database codes)"
CENTERS = "asymmetric (class centers)"
SYMMETRIC = "symmetric (encoded database)"

# The side of the database's codes -> what figures and tables call it. "learned": codes of single
# images, learned with the labels of the database images. "centers": label codes, of a database
# image the center of its class. "encoded": the network's codes of the database images.
SIDES = {"learned": ASYMMETRIC, "centers": CENTERS, "encoded": SYMMETRIC}


def check_side(side: str | None, there: Collection[str]) -> None:
    """Raises ValueError unless `side` is None or among `there`, the sides that have codes."""
    if side is not None and side not in SIDES:
        raise ValueError(f"database must be one of {', '.join(SIDES)}, got {side!r}")
    if side is not None and side not in there:
        raise ValueError(
            f"database must be {' or '.join(there)}, for which this run has codes of all database "
            f"images, got {side!r}"
        )
