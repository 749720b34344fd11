"""Rankings that leave a row out are those of a database without that row, query by query."""

import numpy as np
import pytest
import torch

from semicon_fast import metrics
from semicon_fast.metrics import _retrieval
from semicon_fast.search import pack_codes

BITS = 9
RULES = ("stable", "expected", "optimistic", "pessimistic")


def problem(multi, queries=14, size=60, seed=0):
    """Codes with many ties; most queries are in the database, some under another label."""
    random = np.random.default_rng(seed)
    database = pack_codes(random.standard_normal((size, BITS)))
    exclude = np.where(np.arange(queries) % 5 == 4, -1, random.integers(0, size, queries))
    others = pack_codes(random.standard_normal((queries, BITS)))
    asked = np.where(exclude[:, None] >= 0, database[exclude], others)
    if multi:
        mine, theirs = random.random((queries, 5)) < 0.3, random.random((size, 5)) < 0.3
    else:
        mine, theirs = random.integers(0, 4, queries), random.integers(0, 4, size)
    same = (np.arange(queries) % 3 > 0) & (exclude >= 0)
    mine[same] = theirs[exclude[same]]
    return (asked, database, mine, theirs), exclude


def one_by_one(figure, arguments, exclude):
    """The figure of each query, in a database without its row."""
    queries, database, mine, theirs = arguments
    for q, row in enumerate(exclude):
        others = np.arange(len(database)) != row
        yield figure(queries[q : q + 1], database[others], mine[q : q + 1], theirs[others])


def relevance(arguments, q, row):
    """Of one query by definition: distances and relevance in order of (distance, position)."""
    queries, database, mine, theirs = arguments
    distances = np.unpackbits(queries[q] ^ database, axis=1).sum(1)
    same = (mine[q] & theirs).any(1) if mine.ndim == 2 else mine[q] == theirs
    kept = np.arange(len(database)) != row
    order = np.argsort(distances[kept], kind="stable")
    return distances[kept][order], same[kept][order]


@pytest.fixture(autouse=True, params=[1 << 22, 100], ids=["one block", "several blocks"])
def blocks(request, monkeypatch):
    monkeypatch.setattr(_retrieval, "_PAIRS", request.param)


@pytest.mark.parametrize("multi", [False, True], ids=["single-label", "multi-label"])
def test_stable_figures_are_those_of_the_definition(multi):
    arguments, exclude = problem(multi)
    precisions, found, recalls, within = [], [], [], []
    for q, row in enumerate(exclude):
        distances, hits = relevance(arguments, q, row)
        ranks = np.arange(1, len(hits) + 1)
        precisions.append((hits * hits.cumsum() / ranks).sum() / max(1, hits.sum()))
        found.append(hits[:7].mean())
        recalls.append(hits[:7].sum() / max(1, hits.sum()))
        within.append(hits[distances <= 2].mean() if (distances <= 2).any() else 0)
    options = {"bits": BITS, "exclude": exclude}
    values = metrics.average_precision(*arguments, **options)
    assert values == pytest.approx(precisions, abs=1e-12)
    assert metrics.mean_average_precision(*arguments, **options) == pytest.approx(np.mean(values))
    assert metrics.precision_at(*arguments, 7, **options) == pytest.approx(np.mean(found))
    assert metrics.recall_at(*arguments, 7, **options) == pytest.approx(np.mean(recalls))
    assert metrics.precision_within_radius(*arguments, **options) == pytest.approx(np.mean(within))


@pytest.mark.parametrize("multi", [False, True], ids=["single-label", "multi-label"])
@pytest.mark.parametrize("topk", [None, 8])
def test_every_figure_is_that_of_databases_without_the_row(multi, topk):
    arguments, exclude = problem(multi)
    for ties in RULES:
        options = {
            "bits": BITS, "ties": ties, "topk": topk, "denominator": "capped", "all_ties": True,
            "precision_at": [1, 7, 59, 60, 500], "recall_at": [1, 7, 500], "curve": True,
        }  # fmt: skip
        found = metrics.evaluate(*arguments, exclude=exclude, **options)
        single = list(one_by_one(lambda *a: metrics.evaluate(*a, **options), arguments, exclude))  # noqa: B023
        for name in set(found) - {"curve", "queries", "database", "bits", "topk", "ties"}:
            if isinstance(found[name], float):
                wanted = np.mean([figures[name] for figures in single])
                assert found[name] == pytest.approx(wanted, abs=1e-12), (ties, name)
        for name in ("precision", "recall", "nonempty"):
            wanted = np.mean([figures["curve"][name] for figures in single], axis=0)
            assert found["curve"][name] == pytest.approx(wanted, abs=1e-12)
        missing = sum(figures["queries_without_relevant"] for figures in single)
        assert found["queries_without_relevant"] == missing


def test_all_rows_against_all_others():
    (_, database, _, theirs), _ = problem(False)
    every = np.arange(len(database))
    arguments = database, database, theirs, theirs
    wanted = list(
        one_by_one(lambda *a: metrics.mean_average_precision(*a, bits=BITS), arguments, every)
    )
    left = metrics.mean_average_precision(*arguments, bits=BITS, exclude=every)
    assert left == pytest.approx(np.mean(wanted))
    assert left < metrics.mean_average_precision(*arguments, bits=BITS)


def test_parts_leave_the_row_out_too():
    arguments, exclude = problem(False)
    groups = {"a": slice(0, 4), "b": slice(4, 9)}
    options = {"bits": BITS, "bit_groups": groups, "ties": "expected"}
    found = metrics.part_contributions(*arguments, exclude=exclude, **options)
    single = list(
        one_by_one(lambda *a: metrics.part_contributions(*a, **options), arguments, exclude)
    )
    for kind, name in (("alone", "a"), ("alone", "b"), ("cumulative", "a+b")):
        assert found[kind][name] == pytest.approx(np.mean([s[kind][name] for s in single]))


def test_the_only_code_of_a_database_can_be_left_out():
    (queries, _, mine, _), _ = problem(False, queries=1)
    for ties in RULES:
        figures = metrics.evaluate(
            queries, queries, mine, mine, bits=BITS, ties=ties, exclude=np.array([0])
        )
        assert figures["mAP"] == figures["precision@1"] == figures["recall@1"] == 0
        assert figures["queries_without_relevant"] == 1


def test_tensors_and_no_rows_at_all():
    arguments, exclude = problem(False)
    wanted = metrics.average_precision(*arguments, bits=BITS, exclude=exclude)
    tensors = (torch.from_numpy(np.array(a)) for a in arguments)
    found = metrics.average_precision(*tensors, bits=BITS, exclude=torch.from_numpy(exclude).int())
    assert np.array_equal(found.numpy(), wanted)
    plain = metrics.average_precision(*arguments, bits=BITS)
    nothing = metrics.average_precision(*arguments, bits=BITS, exclude=np.full(14, -1))
    assert np.array_equal(nothing, plain)


@pytest.mark.parametrize(
    "exclude, error, words",
    [
        (np.zeros(22, int), ValueError, r"exclude must be \(14,\), .* got \(22,\)"),
        (np.zeros(14, bool), TypeError, "exclude must be integers, got torch.bool"),
        (np.zeros(14), TypeError, "exclude must be integers, got torch.float64"),
        (np.full(14, 60), ValueError, r"exclude must lie in -1\.\.59, got 60\.\.60"),
        (np.full(14, -2), ValueError, r"exclude must lie in -1\.\.59, got -2\.\.-2"),
        ([0] * 14, TypeError, "exclude must be a NumPy array or a torch tensor, got list"),
    ],
)
def test_what_names_no_rows_is_refused(exclude, error, words):
    for figure in (metrics.evaluate, metrics.mean_average_precision):
        with pytest.raises(error, match=words):
            figure(*problem(False)[0], bits=BITS, exclude=exclude)
