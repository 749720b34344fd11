"""Generated indexes and searches give the reference's integers on every instruction set."""

import pytest
from generated_searches import QUIET, cases, check
from hypothesis import given, settings


@settings(max_examples=100, **QUIET)
@given(case=cases())
def test_every_answer_equals_the_reference(each_isa, threads, case):
    threads(case["threads"])
    check(case, each_isa)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@settings(max_examples=3000, **QUIET)
@given(case=cases())
def test_thousands_of_answers_equal_the_reference(each_isa, threads, case):
    threads(case["threads"])
    check(case, each_isa)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("part", range(8))
def test_every_length_in_bytes_equals_the_reference(each_isa, threads, part):
    for width in range(1 + part, 513, 8):
        case = {
            "bits": 8 * width - width % 8,
            "count": 2100 + width % 32,
            "queries": 1 + width % 19,
            "distinct": (0, 30)[width % 2],
            "order": "random",
            "ids": "shuffled",
            "places": ("whole", "whole"),
            "radius": 4 * width,
            "seed": width,
        }
        for k, count in ((5, 1), (400, 2)):
            threads(count)
            check({**case, "k": k}, each_isa)
