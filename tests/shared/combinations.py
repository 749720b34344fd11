"""Fewer combinations of parameters, where each of them costs compilations."""

from itertools import combinations, product

import pytest


def pairwise(*axes):
    """Every combination of the axes' values as parameters of a test, most of them marked slow.

    Not slow are as many as needed for every two values of different axes to meet: of the
    combinations that bring together most of the pairs that have not met, always the first.
    """
    every = list(product(*(range(len(axis)) for axis in axes)))

    def pairs(places):
        return set(combinations(enumerate(places), 2))

    missing, chosen = set().union(*map(pairs, every)), set()
    while missing:
        best = max(every, key=lambda places: len(pairs(places) & missing))
        missing -= pairs(best)
        chosen.add(best)
    return [
        pytest.param(
            *(axis[place] for axis, place in zip(axes, places, strict=True)),
            marks=() if places in chosen else pytest.mark.slow,
        )
        for places in every
    ]
