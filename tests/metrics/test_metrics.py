"""Precision, recall, radius figures and `evaluate` against their definitions, query by query."""

import json
from itertools import permutations, product

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from semicon_fast import metrics
from semicon_fast.metrics import _retrieval
from semicon_fast.search import pack_codes

RULES = ("stable", "expected", "optimistic", "pessimistic")
BITS = 9


def random_problem(seed=0, count=(23, 90), multi=False):
    random = np.random.default_rng(seed)
    codes = [pack_codes(random.standard_normal((n, BITS))) for n in count]
    if multi:
        return *codes, *(random.random((n, 5)) < 0.2 for n in count)
    return *codes, *(random.integers(0, 7, n) for n in count)


def naive(queries, database, query_labels, database_labels):
    """Distances (Q, N) and relevance (Q, N), all pairs at once."""
    distances = np.unpackbits(queries[:, None] ^ database[None], axis=2).sum(2)
    if query_labels.ndim == 2:
        return distances, (query_labels[:, None] & database_labels[None]).any(2)
    return distances, query_labels[:, None] == database_labels[None]


@settings(derandomize=True, max_examples=40, deadline=None)
@given(
    st.lists(st.lists(st.booleans(), min_size=1, max_size=4), min_size=1, max_size=3),
    st.integers(1, 13),
)
def test_precision_and_recall_at_k_are_what_enumeration_gives(blocks, k):
    distances = [d for d, block in enumerate(blocks) for _ in block]
    hits = sum(blocks, [])
    codes = np.arange(BITS) < np.array(distances)[:, None]
    arguments = (
        pack_codes(np.zeros((1, BITS), bool)),
        pack_codes(codes),
        np.array([1]),
        np.array(hits).astype(int),
    )
    orders = [sum(o, ()) for o in product(*(list(permutations(block)) for block in blocks))]
    found = [sum(order[:k]) for order in orders]
    wanted = {
        "stable": found[0],
        "expected": np.mean(found),
        "optimistic": max(found),
        "pessimistic": min(found),
    }
    for ties in RULES:
        precision = metrics.precision_at(*arguments, k, bits=BITS, ties=ties)
        recall = metrics.recall_at(*arguments, k, bits=BITS, ties=ties)
        assert precision == pytest.approx(wanted[ties] / min(k, len(hits)))
        assert recall == pytest.approx(wanted[ties] / max(1, sum(hits)))


@pytest.mark.parametrize("multi", [False, True], ids=["single-label", "multi-label"])
@pytest.mark.parametrize("radius", [0, 2, 9, 40])
def test_precision_within_radius_counts_empty_balls_as_zero(radius, multi):
    arguments = random_problem(multi=multi)
    distances, relevant = naive(*arguments)
    inside = distances <= radius
    wanted = np.mean([h[i].mean() if i.any() else 0 for h, i in zip(relevant, inside, strict=True)])
    found = metrics.precision_within_radius(*arguments, bits=BITS, radius=radius)
    assert found == pytest.approx(wanted)
    assert radius > 0 or not inside.any(1).all()


@pytest.mark.parametrize("multi", [False, True], ids=["single-label", "multi-label"])
def test_curve_is_precision_and_recall_of_each_ball(monkeypatch, multi):
    arguments = random_problem(multi=multi)
    monkeypatch.setattr(_retrieval, "_PAIRS", 200)
    distances, relevant = naive(*arguments)
    curve = metrics.precision_recall_curve(*arguments, bits=BITS)
    assert curve.radius.tolist() == list(range(BITS + 1))
    for radius in curve.radius:
        inside = distances <= radius
        hits = (relevant & inside).sum(1)
        precision = hits / np.maximum(1, inside.sum(1))
        recall = hits / np.maximum(1, relevant.sum(1))
        assert curve.precision[radius] == pytest.approx(precision.mean())
        assert curve.recall[radius] == pytest.approx(recall.mean())
        assert curve.nonempty[radius] == pytest.approx(inside.any(1).mean())
    assert isinstance(curve.recall, np.ndarray) and curve.nonempty[-1] == 1


@pytest.mark.parametrize("multi", [False, True], ids=["single-label", "multi-label"])
@pytest.mark.parametrize("ties", RULES)
def test_evaluate_gives_the_numbers_of_the_single_functions(monkeypatch, ties, multi):
    monkeypatch.setattr(_retrieval, "_PAIRS", 150)
    arguments = random_problem(multi=multi)
    result = metrics.evaluate(
        *arguments,
        bits=BITS,
        topk=20,
        ties=ties,
        denominator="capped",
        all_ties=True,
        precision_at=[3, 500],
        recall_at=[30],
        radius=1,
        curve=True,
    )
    assert json.loads(json.dumps(result)) == result

    def mean_average_precision(rule):
        return metrics.mean_average_precision(
            *arguments, bits=BITS, topk=20, ties=rule, denominator="capped"
        )

    for rule in RULES:
        assert result[f"mAP_{rule}"] == pytest.approx(mean_average_precision(rule))
    assert result["mAP"] == result[f"mAP_{ties}"]
    for k in (3, 500):
        wanted = metrics.precision_at(*arguments, k, bits=BITS, ties=ties)
        assert result[f"precision@{k}"] == pytest.approx(wanted)
    assert result["recall@30"] == pytest.approx(
        metrics.recall_at(*arguments, 30, bits=BITS, ties=ties)
    )
    assert result["precision_within_radius_1"] == pytest.approx(
        metrics.precision_within_radius(*arguments, bits=BITS, radius=1)
    )
    curve = metrics.precision_recall_curve(*arguments, bits=BITS)
    assert result["curve"]["precision"] == pytest.approx(curve.precision.tolist())
    assert (result["queries"], result["database"], result["bits"]) == (23, 90, BITS)


def test_evaluate_counts_queries_that_nothing_can_serve():
    queries, database, mine, theirs = random_problem()
    mine = np.where(np.arange(len(mine)) < 4, 99, mine)
    result = metrics.evaluate(queries, database, mine, theirs, bits=BITS, ties="expected")
    assert result["queries_without_relevant"] == 4
    assert "curve" not in result and "mAP_stable" not in result


def test_an_empty_database_scores_zero():
    queries, database, mine, theirs = random_problem()
    for ties in RULES:
        result = metrics.evaluate(
            queries, database[:0], mine, theirs[:0], bits=BITS, ties=ties, all_ties=True
        )
        assert result["mAP"] == result["precision@10"] == result["recall@1"] == 0
    assert metrics.precision_within_radius(queries, database[:0], mine, theirs[:0], bits=BITS) == 0


def test_part_contributions_are_figures_of_the_bits_alone():
    random = np.random.default_rng(3)
    mine, theirs = random.standard_normal((20, 24)), random.standard_normal((70, 24))
    labels = random.integers(0, 4, 20), random.integers(0, 4, 70)
    groups = {"global": slice(0, 12), "part1": slice(12, 19), "part2": slice(19, None)}
    found = metrics.part_contributions(
        pack_codes(mine), pack_codes(theirs), *labels, bits=24, bit_groups=groups, ties="expected"
    )

    def figure(columns):
        codes = pack_codes(mine[:, columns]), pack_codes(theirs[:, columns])
        bits = mine[:, columns].shape[1]
        return metrics.mean_average_precision(*codes, *labels, bits=bits, ties="expected")

    assert found["alone"] == {name: figure(columns) for name, columns in groups.items()}
    assert found["cumulative"] == {
        "global": figure(slice(0, 12)),
        "global+part1": figure(slice(0, 19)),
        "global+part1+part2": figure(slice(0, 24)),
    }


@pytest.mark.parametrize(
    "groups, error, words",
    [
        ({}, ValueError, "at least one group"),
        ({"a": [0, 1.5]}, TypeError, r"must map names to slices, got \[0, 1.5\] for 'a'"),
        ({"a": slice(0, 10)}, ValueError, "disjoint, non-empty slices of 9 bits"),
        ({"a": slice(3, 3)}, ValueError, "disjoint, non-empty"),
        ({"a": slice(0, 5), "b": slice(4, 9)}, ValueError, r"got slice\(4, 9, None\) for 'b'"),
    ],
)
def test_groups_that_are_no_parts_of_the_code_are_refused(groups, error, words):
    with pytest.raises(error, match=words):
        metrics.part_contributions(*random_problem(), bits=BITS, bit_groups=groups)


FIGURES = [
    metrics.mean_average_precision,
    metrics.precision_within_radius,
    metrics.precision_recall_curve,
    metrics.evaluate,
    lambda *a, **k: metrics.precision_at(*a, 3, **k),
    lambda *a, **k: metrics.recall_at(*a, 3, **k),
    lambda *a, **k: metrics.part_contributions(*a, bit_groups={"all": slice(0, 9)}, **k),
]


@pytest.mark.parametrize("figure", FIGURES)
@pytest.mark.parametrize(
    "place, value, error, words",
    [
        (0, np.zeros((23, 3), np.uint8), ValueError, r"queries must be \(N, 2\) for 9 bits"),
        (1, np.zeros((90, 2), np.int32), TypeError, "database must be packed uint8"),
        (1, np.full((90, 2), 255, np.uint8), ValueError, "database must have 0 in the 7 unused"),
        (1, [[0, 0]], TypeError, "database must be a NumPy array or a torch tensor, got list"),
        (2, np.zeros(22, int), ValueError, "query_labels must have one row .* 23 codes, got 22"),
        (2, np.zeros(23), TypeError, r"query_labels must be integers \(N,\) or bool \(N, C\)"),
        (2, np.zeros((23, 5), int), TypeError, r"got torch.int64 \(23, 5\)"),
        (2, np.full(23, np.nan), TypeError, "query_labels must be integers"),
        (2, np.full(23, -1), ValueError, "query_labels must be 0 or more; leave queries without"),
        (2, np.array(["a"] * 23), TypeError, "query_labels must be .* got <U1; number the class"),
        (2, np.array(["a"] * 23, object), TypeError, "query_labels must be .* got object; number"),
        (2, ["a"] * 23, TypeError, "query_labels must be a NumPy array or a torch tensor, got lis"),
        (2, np.zeros((23, 5), np.uint8), TypeError, "convert labels of 0 and 1 to bool"),
        (2, np.zeros(23, bool), TypeError, r"got torch.bool \(23,\)"),
        (3, np.full(90, -2), ValueError, "database_labels must be 0 or more, or -1 .* got -2"),
        (3, np.zeros((90, 5), bool), ValueError, r"both be .* got \(23,\) and \(90, 5\)"),
    ],
)
def test_bad_codes_and_labels_are_refused_in_a_sentence(figure, place, value, error, words):
    arguments = list(random_problem())
    arguments[place] = value
    with pytest.raises(error, match=words):
        figure(*arguments, bits=BITS)


@pytest.mark.parametrize(
    "figure, changed, error, words",
    [
        (metrics.mean_average_precision, {"topk": -1}, ValueError, "None means the whole database"),
        (metrics.mean_average_precision, {"topk": 2.5}, TypeError, "topk must be an integer >= 1"),
        (metrics.mean_average_precision, {"ties": "random"}, ValueError, "ties must be one of"),
        (metrics.evaluate, {"denominator": "all"}, ValueError, "denominator must be one of retr"),
        (metrics.precision_at, {"k": 0}, ValueError, "k must be an integer >= 1, got 0"),
        (metrics.recall_at, {"k": 3, "ties": "x"}, ValueError, "ties must be one of stable"),
        (metrics.precision_within_radius, {"radius": -1}, ValueError, "radius must be an integer"),
        (metrics.evaluate, {"precision_at": [0]}, ValueError, "precision_at must be an integer"),
        (metrics.evaluate, {"bits": 0}, ValueError, "bits must be an integer from 1 to 4096"),
    ],
)
def test_bad_options_are_refused_in_a_sentence(figure, changed, error, words):
    with pytest.raises(error, match=words):
        figure(*random_problem(), **({"bits": BITS} | changed))


def test_no_queries_are_refused():
    queries, database, mine, theirs = random_problem()
    with pytest.raises(ValueError, match="queries must hold at least one code, got none"):
        metrics.evaluate(queries[:0], database, mine[:0], theirs, bits=BITS)


def test_labels_of_any_integer_type_and_codes_with_strides_are_taken():
    queries, database, mine, theirs = random_problem()
    wanted = metrics.evaluate(queries, database, mine, theirs, bits=BITS, all_ties=True)
    found = metrics.evaluate(
        torch.from_numpy(queries).T.contiguous().T,
        np.repeat(database, 2, axis=0)[::2],
        mine.astype(np.uint8),
        torch.from_numpy(theirs).to(torch.int16),
        bits=BITS,
        all_ties=True,
    )
    assert found == wanted


def test_images_of_the_database_without_a_label_are_relevant_to_nothing():
    queries, database, mine, theirs = random_problem()
    bare = np.arange(len(theirs)) % 3 == 0
    found = metrics.evaluate(queries, database, mine, np.where(bare, -1, theirs), bits=BITS)
    wanted = metrics.evaluate(queries, database, mine, np.where(bare, 99, theirs), bits=BITS)
    assert found == wanted and 0 < found["mAP"] < 1


def test_progress_adds_up_to_the_queries(monkeypatch):
    monkeypatch.setattr(_retrieval, "_BINS", 100)
    arguments = random_problem()
    steps = []
    metrics.evaluate(*arguments, bits=BITS, progress=steps.append)
    assert len(steps) > 1 and sum(steps) == len(arguments[0])
