"""Every instruction set gives the reference's integers, bit for bit."""

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from semicon_fast.reference import hamming as reference

LENGTHS = [*range(1, 11), 12, 16, 17, 24, 31, 32, 33, 48, 63, 64, 96, 128, 255, 256, 257, 512]


def answer(op, *arguments):
    found = getattr(torch.ops.semicon_fast, op)(*arguments)
    return found if isinstance(found, tuple) else (found,)


def assert_equal(op, isa, *arguments):
    expected = getattr(reference, op)(*arguments)
    expected = expected if isinstance(expected, tuple) else (expected,)
    for found, wanted in zip(answer(op, *arguments), expected, strict=True):
        assert found.dtype == wanted.dtype, (op, isa)
        assert torch.equal(found, wanted), (op, isa)


LAYOUTS = [
    "whole",
    "columns of a wider table",
    "every second row",
    "transposed",
    "one row for all",
    "odd address",
]


@st.composite
def searches(draw):
    width = draw(st.sampled_from(LENGTHS))
    # Around a step, a block, and the size from which selecting replaces sorting.
    most = max(200, min(5000, 60_000 // width))
    return {
        "width": width,
        "queries": draw(st.sampled_from([0, 1, 2, 3, 4, 5, 8, 9, 17, 70])),
        "database": draw(st.integers(0, most)),
        "distinct": draw(st.sampled_from([None, 1, 3, 40])),
        "layout": draw(st.sampled_from(LAYOUTS)),
        "seed": draw(st.integers(0, 2**31)),
        "share": draw(st.sampled_from([0.0, 0.001, 0.01, 0.05, 0.5, 1.0])),
        "radius": draw(st.sampled_from([0, 1, 3, 4 * width, 8 * width, 10**12])),
    }


@settings(
    max_examples=40,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(case=searches())
def test_all_operations_equal_the_reference(each_isa, codes, case):
    width, seed, distinct = case["width"], case["seed"], case["distinct"]
    database = codes(case["database"], width, seed=seed, distinct=distinct, layout=case["layout"])
    queries = codes(case["queries"], width, seed=seed + (distinct is None), distinct=distinct)
    k = round(case["share"] * len(database))
    for isa in each_isa():
        assert_equal("hamming_topk", isa, queries, database, k)
        assert_equal("hamming_distance", isa, queries, database)
        assert_equal("hamming_histogram", isa, queries, database)
        assert_equal("hamming_range", isa, queries, database, case["radius"])


@pytest.mark.parametrize("width", [1, 2, 3, 4, 6, 8, 16, 24, 32, 128])
@pytest.mark.parametrize("k", [1, 10, 300])
def test_many_queries_after_a_sample_equal_the_reference(each_isa, codes, threads, width, k):
    database = codes(20_000, width, seed=width)
    queries = codes(25, width, seed=width + 1)
    for isa in each_isa():
        for count in (1, 3):
            threads(count)
            assert_equal("hamming_topk", (isa, count), queries, database, k)


@pytest.mark.parametrize("width", [2, 6, 8, 17])
def test_one_query_split_over_threads_equals_the_reference(each_isa, codes, threads, width):
    database = codes(300_000, width, seed=3, distinct=40_000)
    query = codes(1, width, seed=4)
    threads(5)
    for isa in each_isa():
        for k in (1, 100, 5_000, len(database)):
            assert_equal("hamming_topk", isa, query, database, k)
        assert_equal("hamming_range", isa, query, database, 3 * width)
        assert_equal("hamming_histogram", isa, query, database)


def test_a_sample_that_promises_too_much_is_corrected(each_isa, codes, threads):
    """Near codes lie exactly where the sample looks, and there are fewer than k of them."""
    database = codes(64_000, 8, seed=5)
    query = codes(1, 8, seed=6)
    size = 64_000 // 32
    database[:: 64_000 // size] = query
    queries = query.expand(20, 8)
    threads(2)
    for isa in each_isa():
        assert_equal("hamming_topk", isa, queries, database, 3_900)


def test_ties_at_the_limit_keep_the_order_of_the_database(each_isa, threads):
    """Codes at one distance only: the first k positions win on every path and thread count."""
    database = torch.full((200_000, 8), 255, dtype=torch.uint8)
    queries = torch.zeros(16, 8, dtype=torch.uint8)
    for isa in each_isa():
        for count in (1, 4):
            threads(count)
            for k in (7, 1_000, 150_000):
                distances, positions = answer("hamming_topk", queries, database, k)
                assert (distances == 64).all(), isa
                assert torch.equal(positions, torch.arange(k).expand(16, k)), isa


@pytest.mark.parametrize("op, extra", [("topk", (1,)), ("range", (1,)), ("distance", ())])
def test_wrong_calls_below_the_checks_are_sentences(isas, op, extra):
    call = getattr(torch.ops.semicon_fast, f"hamming_{op}")
    good = torch.zeros(3, 8, dtype=torch.uint8)
    with pytest.raises(TypeError, match="queries must be packed uint8"):
        call(good.int(), good, *extra)
    with pytest.raises(ValueError, match=r"database must be \(rows, bytes\)"):
        call(good, good[0], *extra)
    with pytest.raises(ValueError, match="1 to 512 bytes"):
        call(torch.zeros(1, 513, dtype=torch.uint8), torch.zeros(1, 513, dtype=torch.uint8), *extra)
    with pytest.raises(ValueError, match="equally many bytes"):
        call(good, good[:, :4], *extra)
    if extra:
        with pytest.raises(ValueError, match="must be >= 0"):
            call(good, good, -1)
