"""Bits of random projections differ as often as angles say."""

import math

import numpy as np
import pytest

from semicon_fast import shallow, unpack_codes


def pairs(degrees, count, width, draws):
    """`count` pairs of vectors at an angle, in directions that are uniform over the sphere."""
    one, other = draws.normal(size=(2, count, width))
    one /= np.linalg.norm(one, axis=1, keepdims=True)
    other -= (one * other).sum(1, keepdims=True) * one
    other /= np.linalg.norm(other, axis=1, keepdims=True)
    angle = math.radians(degrees)
    return one, math.cos(angle) * one + math.sin(angle) * other


@pytest.mark.parametrize("degrees, expected", [(30, 8), (60, 16), (90, 24), (180, 48)])
def test_the_distance_is_the_angle_over_pi(degrees, expected):
    """Given the projections, pairs in uniform directions are independent, each with 48 angle / pi
    as its expectation. By Hoeffding the mean of n distances in 0..48 is off by more than t with a
    probability of at most 2 exp(-2 n t^2 / 48^2), here 1e-6."""
    count = 100_000
    one, other = pairs(degrees, count, 8, np.random.default_rng(0))
    centre = np.full(8, 3.0)
    hasher = shallow.LSH(48).fit(np.concatenate([centre - one[:9], centre + one[:9]]))
    signs = [unpack_codes(hasher.encode(centre + side), 48) for side in (one, other)]
    distances = (signs[0] != signs[1]).sum(1)
    bound = 48 * math.sqrt(math.log(2 / 1e-6) / (2 * count))
    assert abs(distances.mean() - expected) <= bound < 0.5


def test_projections_are_standard_normal_and_depend_on_the_seed_alone():
    features = np.random.default_rng(1).normal(size=(50, 100)) + 7
    one, same = (shallow.LSH(200).fit(x).state_["projection"] for x in (features, features[:20]))
    assert one.equal(same)
    # Mean and variance of 20,000 draws: five standard errors.
    assert abs(float(one.mean())) < 5 / math.sqrt(20_000)
    assert abs(float(one.var()) - 1) < 5 * math.sqrt(2 / 20_000)
    assert np.allclose(shallow.LSH(8).fit(features).state_["mean"], features.mean(0))
