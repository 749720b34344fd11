"""Evaluation of galleries: labels as classes or as sets of classes, queries in the database."""

import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..search.gallery import Gallery
from ._evaluate import evaluate

# A label that lists 0 or 1 for each of at least two classes, as text lists have it.
_MULTI_HOT = re.compile(r"[01](?:\s+[01])+")


def evaluate_galleries(
    queries: Gallery, database: Gallery, *, leave_one_out: bool = False, **options: Any
) -> dict[str, Any]:
    """Retrieval metrics of the images of one gallery as queries against those of another.

    Images of the same label are relevant. If every label in both galleries lists 0 or 1 for each of
    at least two classes ("0 1 0"), images that share a class are. Queries without a label ("") are
    left out, and images of the database without one are relevant to nothing.

    Args:
        queries, database: galleries with codes of the same length; they may be the same.
        leave_one_out: leave each query's own image, which has the same name, out of its ranking.
        options: passed on to `evaluate`, except `bits` and `exclude`.

    Returns {"metrics": the result of `evaluate`, "queries_in_database": the number of evaluated
    queries whose image is in the database too, "left_out": how many of those were left out of their
    own ranking, "unlabelled_queries", "unlabelled_database": the numbers of images without a
    label}.

    Raises:
        ValueError: different code lengths, no label in one of the galleries, labels of different
            numbers of classes, or leave_one_out where the name of a query occurs more than once in
            the database.
    """
    if queries.bits != database.bits:
        raise ValueError(f"the queries have {queries.bits} bits, the database {database.bits}")
    labelled = np.array([label != "" for label in queries.labels], bool)
    unlabelled = sum(label == "" for label in database.labels)
    for name, count in (("queries", labelled.sum()), ("database", len(database) - unlabelled)):
        if count == 0:
            raise ValueError(
                f"no image of the {name} has a label: encode folders named by class, or a list "
                "with labels"
            )
    kept = labelled.nonzero()[0]
    mine, theirs = numbered_labels([queries.labels[i] for i in kept], database.labels)
    own = own_rows([queries.images[i] for i in kept], database.images, unique=leave_one_out)
    figures = evaluate(
        np.asarray(queries.codes)[kept],
        np.asarray(database.codes),
        mine,
        theirs,
        bits=queries.bits,
        exclude=own if leave_one_out else None,
        **options,
    )
    found = int((own >= 0).sum())
    return {
        "metrics": figures,
        "queries_in_database": found,
        "left_out": found if leave_one_out else 0,
        "unlabelled_queries": len(queries) - len(kept),
        "unlabelled_database": unlabelled,
    }


def own_rows(queries: Sequence[str], database: Sequence[str], *, unique: bool = True) -> np.ndarray:
    """For each of the Q names the position of the same name in the database, -1 if there is none.

    int64 (Q,). With `unique`, ValueError for a name of a query that the database has twice.
    """
    row_of = {name: row for row, name in enumerate(database)}
    own = np.array([row_of.get(name, -1) for name in queries], np.int64)
    if unique and len(row_of) < len(database):
        asked, seen = set(queries), set[str]()
        for name in database:
            if name in seen:
                raise ValueError(
                    "leaving each query out of its ranking needs a database that holds it once; "
                    f"{name} is in it more than once"
                )
            if name in asked:
                seen.add(name)
    return own


def numbered_labels(mine: Sequence[str], theirs: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Class names of two sets of images as labels that `evaluate` takes, numbered together.

    Each is int64 (N,), -1 for "", no label; or, if every name lists 0 or 1 for each of at least two
    classes ("0 1 0"), bool (N, C). Raises ValueError for lists of different lengths.
    """
    names = sorted({*mine, *theirs} - {""})
    if all(_MULTI_HOT.fullmatch(name) for name in names):
        return _multi_hot(names, mine, theirs)
    number = {"": -1, **{name: i for i, name in enumerate(names)}}
    labels = [np.array([number[name] for name in part], np.int64) for part in (mine, theirs)]
    return labels[0], labels[1]


def _multi_hot(
    names: Sequence[str], mine: Sequence[str], theirs: Sequence[str]
) -> tuple[np.ndarray, np.ndarray]:
    sets = {name: [digit == "1" for digit in name.split()] for name in names}
    widths = sorted({len(classes) for classes in sets.values()})
    if len(widths) > 1:
        raise ValueError(
            "labels of 0 and 1 must be equally many for every image, got "
            + " and ".join(str(width) for width in widths)
        )
    sets[""] = [False] * widths[0]
    labels = [np.array([sets[name] for name in part], bool) for part in (mine, theirs)]
    return labels[0], labels[1]
