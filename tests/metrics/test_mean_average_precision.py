"""mAP against enumeration of every order inside every tie block."""

from itertools import permutations, product

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from semicon_fast import metrics
from semicon_fast.metrics import _average_precision, _retrieval
from semicon_fast.search import pack_codes

RULES = ("stable", "expected", "optimistic", "pessimistic")
DENOMINATORS = ("retrieved", "capped", "relevant")


def problem(blocks, bits=16):
    """One query, and a block of codes at each distance: (codes, relevant ones), or hits."""
    distances, hits = [], []
    for distance, block in enumerate(blocks):
        if isinstance(block, tuple):
            block = [True] * block[1] + [False] * (block[0] - block[1])
        hits += block
        distances += [distance] * len(block)
    codes = torch.arange(bits) < torch.tensor(distances).unsqueeze(1)
    query = torch.zeros(1, bits, dtype=torch.bool)
    return pack_codes(query), pack_codes(codes), torch.tensor([1]), torch.tensor(hits).long()


def average_precision(hits, relevant, topk, denominator):
    """The definition, rank by rank."""
    hits = list(hits)[:topk]
    total = sum(sum(hits[: i + 1]) / (i + 1) for i, hit in enumerate(hits) if hit)
    by = {"retrieved": sum(hits), "capped": min(relevant, topk), "relevant": relevant}
    return total / by[denominator] if by[denominator] else 0.0


def every_order(blocks, topk, denominator):
    relevant = sum(map(sum, blocks))
    orders = product(*(list(permutations(block)) for block in blocks))
    return [average_precision(sum(o, ()), relevant, topk, denominator) for o in orders]


@settings(derandomize=True, max_examples=60, deadline=None)
@given(
    st.lists(st.lists(st.booleans(), min_size=1, max_size=4), min_size=1, max_size=3),
    st.integers(1, 13),
)
def test_every_tie_rule_is_what_enumeration_of_the_orders_gives(blocks, topk):
    arguments = problem(blocks)
    for denominator in DENOMINATORS:
        orders = every_order(blocks, topk, denominator)
        wanted = {
            "stable": orders[0],
            "expected": float(np.mean(orders)),
            "optimistic": max(orders),
            "pessimistic": min(orders),
        }
        for ties in RULES:
            found = metrics.mean_average_precision(
                *arguments, bits=16, topk=topk, ties=ties, denominator=denominator
            )
            assert found == pytest.approx(wanted[ties], abs=1e-12), (ties, denominator)


@pytest.mark.parametrize(
    "blocks, value",
    [
        ([(3, 2), (4, 1)], 0.726918),
        ([(2, 1), (2, 1)], 0.666667),
        ([(5, 3), (4, 2), (3, 1)], 0.657631),
    ],
)
def test_expected_average_precision_of_known_tie_blocks(blocks, value):
    found = metrics.mean_average_precision(*problem(blocks), bits=16, ties="expected")
    assert found == pytest.approx(value, abs=5e-7)


def test_hits_plus_minus_plus_minus_plus_and_the_slice_that_drops_the_last_rank():
    arguments = problem([[True], [False], [True], [False], [True]])
    assert metrics.mean_average_precision(*arguments, bits=16) == pytest.approx(34 / 45)
    dropped = metrics.mean_average_precision(*arguments, bits=16, topk=4)
    assert dropped == pytest.approx(5 / 6)


@pytest.mark.parametrize("ties", RULES)
def test_dividing_by_retrieved_can_score_the_worse_list_higher(ties):
    better, worse = problem([[True], [False], [True]]), problem([[True], [False], [False], [True]])

    def score(problem, denominator):
        return metrics.mean_average_precision(
            *problem, bits=16, topk=3, ties=ties, denominator=denominator
        )

    assert score(better, "retrieved") == pytest.approx(5 / 6)
    assert score(worse, "retrieved") == pytest.approx(1)
    assert score(better, "relevant") > score(worse, "relevant")


def random_problem(seed, count=(37, 211), classes=6, bits=11, multi=False):
    generator = torch.Generator().manual_seed(seed)
    codes = [pack_codes(torch.randn(n, bits, generator=generator)) for n in count]
    if multi:
        labels = [torch.rand(n, classes, generator=generator) < 0.15 for n in count]
    else:
        labels = [torch.randint(classes, (n,), generator=generator) for n in count]
    return (*codes, *labels)


@pytest.mark.parametrize("denominator", DENOMINATORS)
@pytest.mark.parametrize("topk", [1, 50, 211, None])
def test_no_order_leaves_the_bounds(topk, denominator):
    arguments = random_problem(0)
    low, stable, expected, high = (
        metrics.average_precision(
            *arguments, bits=11, topk=topk, ties=ties, denominator=denominator
        )
        for ties in ("pessimistic", "stable", "expected", "optimistic")
    )
    assert (low <= stable + 1e-12).all() and (stable <= high + 1e-12).all()
    assert (low <= expected + 1e-12).all() and (expected <= high + 1e-12).all()
    assert low.mean() < high.mean()


@pytest.mark.parametrize("ties", RULES)
def test_denominators_agree_without_a_cut(ties):
    arguments = random_problem(1)
    values = [
        metrics.average_precision(*arguments, bits=11, ties=ties, denominator=denominator)
        for denominator in DENOMINATORS
    ]
    assert torch.equal(values[0], values[1]) and torch.equal(values[0], values[2])


@pytest.mark.parametrize("multi", [False, True], ids=["single-label", "multi-label"])
@pytest.mark.parametrize("topk", [None, 40])
@pytest.mark.parametrize("ties", RULES)
def test_small_blocks_of_queries_change_nothing(monkeypatch, ties, topk, multi):
    arguments = random_problem(2, multi=multi)
    whole = metrics.average_precision(*arguments, bits=11, ties=ties, topk=topk)
    monkeypatch.setattr(_retrieval, "_PAIRS", 500)
    monkeypatch.setattr(_average_precision, "_GRID", 30)
    torch.testing.assert_close(
        metrics.average_precision(*arguments, bits=11, ties=ties, topk=topk),
        whole,
        rtol=0,
        atol=1e-14,
    )


def test_one_hot_multi_label_is_single_label():
    queries, database, *labels = random_problem(3)
    hot = [torch.nn.functional.one_hot(x, 6).bool() for x in labels]
    for ties in RULES:
        one = metrics.average_precision(queries, database, *labels, bits=11, ties=ties, topk=30)
        many = metrics.average_precision(queries, database, *hot, bits=11, ties=ties, topk=30)
        assert torch.equal(one, many)


def test_shuffling_the_database_moves_stable_and_leaves_the_other_rules():
    queries, database, mine, theirs = random_problem(4)
    order = torch.randperm(len(database), generator=torch.Generator().manual_seed(5))

    def values(ties, database, theirs):
        return metrics.average_precision(
            queries, database, mine, theirs, bits=11, ties=ties, topk=60
        )

    for ties in RULES:
        same = torch.equal(
            values(ties, database, theirs), values(ties, database[order], theirs[order])
        )
        assert same == (ties != "stable")


def test_queries_without_a_relevant_code_add_zero_and_count():
    queries = pack_codes(torch.ones(2, 8))
    figure = metrics.mean_average_precision(
        queries, queries[:1], np.array([0, 7]), np.array([0]), bits=8
    )
    assert figure == 0.5


def test_perfect_codes_score_one_and_equal_codes_their_share():
    labels = torch.arange(4).repeat_interleave(100)
    perfect = pack_codes(torch.eye(4)[labels] - 0.5)
    equal = pack_codes(torch.ones(400, 4))
    for ties in RULES:
        one = metrics.mean_average_precision(perfect, perfect, labels, labels, bits=4, ties=ties)
        assert one == 1.0
    expected = metrics.mean_average_precision(equal, equal, labels, labels, bits=4, ties="expected")
    assert expected == pytest.approx(0.25, abs=0.03)


def test_numpy_and_torch_give_the_same_values_in_their_own_kind():
    arguments = random_problem(6)
    tensor = metrics.average_precision(*arguments, bits=11)
    array = metrics.average_precision(*(x.numpy() for x in arguments), bits=11)
    assert isinstance(tensor, torch.Tensor) and isinstance(array, np.ndarray)
    assert np.array_equal(array, tensor.numpy())


def test_long_tie_blocks_keep_their_digits():
    # 60,000 codes at one distance, a tenth relevant: the sum rank by rank in float64.
    n, r = 60_000, 6_000
    arguments = problem([(n, r)])
    ranks = np.arange(1, n + 1)
    slope = (r - 1) / (n - 1)
    wanted = np.sum((1 + (ranks - 1) * slope) / ranks) / n
    found = metrics.mean_average_precision(*arguments, bits=16, ties="expected")
    assert found == pytest.approx(wanted, rel=1e-11)
    cut = metrics.mean_average_precision(*arguments, bits=16, ties="expected", topk=n - 1)
    assert cut == pytest.approx(wanted, rel=1e-4)
