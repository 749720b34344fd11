"""Databases in which few codes occur many times: the search among the distinct gives the same."""

import pytest
import torch

from semicon_fast import ops
from semicon_fast.reference import hamming as reference

QUERIES = 200  # enough that the distinct codes are looked for


def learned(distinct, size, bytes_, seed=0):
    """(queries, database): each query one bit away from a code of the database, or equal to it."""
    generator = torch.Generator().manual_seed(seed)
    codes = torch.randint(256, (distinct, bytes_), generator=generator, dtype=torch.uint8)
    database = codes[torch.randint(distinct, (size,), generator=generator)]
    queries = codes[torch.randint(distinct, (QUERIES,), generator=generator)].clone()
    queries[: QUERIES - 20, 0] ^= 1
    return queries, database


def assert_equal_to_the_reference(queries, database, k):
    found, wanted = (
        ops.hamming_topk(queries, database, k),
        reference.hamming_topk(queries, database, k),
    )
    assert torch.equal(found[0], wanted[0]) and torch.equal(found[1], wanted[1])


@pytest.mark.parametrize("bytes_", [1, 2, 3, 5, 6, 7, 8, 9, 17, 64])
@pytest.mark.parametrize("k", [1, 7, 300])
def test_every_length_of_code(bytes_, k):
    assert_equal_to_the_reference(*learned(40, 20_000, bytes_), k)


@pytest.mark.parametrize("distinct", [1, 2, 900, 5000])
def test_few_and_many_distinct_codes(distinct):
    assert_equal_to_the_reference(*learned(distinct, 40_000, 6, seed=distinct), 50)


def test_codes_that_occur_less_often_than_k_times():
    queries, database = learned(500, 20_000, 6)
    assert_equal_to_the_reference(queries, database, 1000)


def test_a_database_that_only_begins_with_repeats():
    queries, database = learned(30, 60_000, 6)
    generator = torch.Generator().manual_seed(1)
    database[20_000:] = torch.randint(256, (40_000, 6), generator=generator, dtype=torch.uint8)
    assert_equal_to_the_reference(queries, database, 100)


def test_sorted_codes_and_rows_with_gaps():
    queries, database = learned(60, 30_000, 8)
    wide = torch.zeros(30_000, 11, dtype=torch.uint8)
    wide[:, 2:10] = database[database[:, 0].long().sort(stable=True).indices]
    assert_equal_to_the_reference(queries, wide[:, 2:10], 40)


def test_many_threads_and_one_give_the_same():
    queries, database = learned(100, 600_000, 6)
    threads = torch.get_num_threads()
    try:
        results = []
        for count in (1, 4):
            torch.set_num_threads(count)
            results.append(ops.hamming_topk(queries, database, 64))
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(results[0][0], results[1][0]) and torch.equal(results[0][1], results[1][1])
