"""Codebooks of every kind: codes of -1 and +1, all different, at the distances they promise."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from semicon_fast import centers

KINDS = {
    "hadamard": centers.hadamard,
    "random": centers.random,
    "greedy": centers.greedy,
    "semantic": centers.semantic,
}


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.mark.filterwarnings("ignore:Hadamard")
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "classes, bits", [(2, 2), (4, 2), (5, 3), (8, 3), (10, 12), (7, 17), (40, 20)]
)
def test_centers_differ_and_are_repeatable(kind, classes, bits):
    found = KINDS[kind](classes, bits, seeded())
    assert found.dtype == torch.int8 and tuple(found.shape) == (classes, bits)
    assert bool((found.abs() == 1).all()) and len(found.unique(dim=0)) == classes
    assert torch.equal(found, KINDS[kind](classes, bits, seeded()))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "classes, bits, sentence",
    [
        (1, 8, "classes must be an integer >= 2, got 1"),
        (10, 1, "bits must be an integer from 2 to 4096, got 1"),
        (9, 3, r"classes must be at most 2\^bits = 8.*got 9 classes at 3 bits"),
    ],
)
def test_impossible_sizes_are_refused(kind, classes, bits, sentence):
    with pytest.raises(ValueError, match=sentence):
        KINDS[kind](classes, bits)


@pytest.mark.parametrize("order", [1, 2, 4, 8, 12, 16, 20, 24, 32, 44, 48, 64, 96])
def test_hadamard_matrices_are_orthogonal_with_a_constant_first_column(order):
    matrix = centers.hadamard_matrix(order).double()
    assert torch.equal(matrix @ matrix.T, order * torch.eye(order, dtype=torch.float64))
    assert bool((matrix[:, 0] == 1).all())


def test_orders_without_a_construction_have_no_matrix():
    assert [n for n in range(50) if n % 4 == 0 and centers.hadamard_matrix(n) is None] == [
        0,
        28,
        36,
    ]
    assert all(centers.hadamard_matrix(n) is None for n in (3, 6, 15, 18))


@pytest.mark.parametrize("bits", [12, 16, 24, 48])
def test_hadamard_centers_are_half_the_bits_apart_and_no_bit_is_constant(bits):
    for seed in range(5):
        found = centers.hadamard(bits, bits, seeded(seed))
        assert centers.quality(found) == (bits // 2, bits / 2)
        assert bool((found.sum(0, dtype=torch.int64).abs() < bits).all())
    doubled = centers.hadamard(2 * bits, bits, seeded())
    assert set(centers.distances(doubled).unique().tolist()) == {0, bits // 2, bits}


@pytest.mark.parametrize("bits", [11, 15, 23, 47, 63])
def test_one_bit_less_than_an_order_drops_the_constant_column(bits):
    found = centers.hadamard(bits + 1, bits, seeded())
    assert centers.quality(found) == ((bits + 1) // 2, (bits + 1) / 2)
    assert bool((found.sum(0, dtype=torch.int64) == 0).all())


def test_the_greedy_fallback_says_so():
    with pytest.warns(
        RuntimeWarning, match="give 96 centers of 48 bits; 104 of 200 centers are fou"
    ):
        found = centers.hadamard(200, 48, seeded())
    assert centers.quality(found).least >= centers.gilbert_varshamov(200, 48)
    with pytest.warns(RuntimeWarning, match="give 0 centers of 36 bits; the centers are found"):
        centers.hadamard(4, 36, seeded())


@given(st.integers(2, 17), st.integers(0, 5))
@settings(max_examples=30, deadline=None)
def test_random_centers_are_balanced_where_they_can_be(bits, seed):
    from math import comb

    found = centers.random(min(comb(bits, bits // 2), 12), bits, seeded(seed))
    assert bool((found.sum(1, dtype=torch.int64).abs() == bits % 2).all())


@pytest.mark.parametrize("classes, bits", [(16, 4), (200, 8), (50, 30)])
def test_random_words_need_not_be_balanced(classes, bits):
    found = centers.random(classes, bits, seeded(), balanced=False)
    assert len(found.unique(dim=0)) == classes and bool((found.abs() == 1).all())
    assert bool((found.sum(1) != 0).any())


def test_long_random_centers_are_balanced():
    found = centers.random(100, 49, seeded())
    assert sorted(set(found.sum(1, dtype=torch.int64).tolist())) == [-1, 1]


@pytest.mark.parametrize(
    "bits, expected",
    [
        (12, {100: 3, 196: 3, 292: 3, 555: 2}),
        (16, {100: 4, 196: 4, 292: 4, 555: 3}),
        (24, {100: 7, 196: 7, 292: 7, 555: 6}),
        (32, {100: 10, 196: 10, 292: 9, 555: 9}),
        (48, {100: 17, 101: 17, 200: 16, 292: 16, 555: 15}),
        (64, {100: 24, 196: 23, 292: 22, 555: 21}),
    ],
)
def test_gilbert_varshamov_distances_are_those_of_the_released_rule(bits, expected):
    assert {m: centers.gilbert_varshamov(m, bits) for m in expected} == expected


@pytest.mark.parametrize("classes, bits", [(2, 3), (5, 4), (20, 8), (100, 16)])
def test_greedy_centers_keep_to_the_bound(classes, bits):
    """While fewer than C balls of radius d - 1 cover fewer words than there are, one is left."""
    found = centers.greedy(classes, bits, seeded())
    assert centers.quality(found).least >= centers.gilbert_varshamov(classes, bits) - 1


def test_greedy_takes_every_word_in_the_end():
    found = centers.greedy(2**10, 10, seeded())
    assert len(found.unique(dim=0)) == 2**10


def test_distances_count_differing_bits():
    found = centers.distances(torch.tensor([[1, 1, 1], [1, -1, 1], [-1, 1, -1]]))
    assert found.tolist() == [[0, 1, 2], [1, 0, 3], [2, 3, 0]]
    assert centers.quality(torch.tensor([[1, 1, 1], [1, -1, 1], [-1, 1, -1]])) == (1, 2.0)


@pytest.mark.parametrize(
    "wrong, sentence",
    [
        (torch.ones(3), r"must be a tensor \(C, k\)"),
        (torch.ones(1, 4), "C >= 2"),
        (torch.zeros(2, 4), "-1 or.*1 in every bit"),
        ([[1, -1]], "got list"),
    ],
)
def test_other_things_than_centers_are_refused(wrong, sentence):
    for use in (centers.quality, centers.distances):
        with pytest.raises(ValueError, match=sentence):
            use(wrong)


def test_files_give_back_what_was_saved(tmp_path):
    found = centers.random(10, 12, seeded())
    centers.save(found, tmp_path / "c.safetensors")
    assert torch.equal(centers.load(tmp_path / "c.safetensors"), found)
    (tmp_path / "bad.safetensors").write_bytes(b"no")
    with pytest.raises(ValueError, match=r"bad.safetensors is no .safetensors file of centers"):
        centers.load(tmp_path / "bad.safetensors")
    with pytest.raises(FileNotFoundError, match="centers file .* does not exist"):
        centers.load(tmp_path / "none.safetensors")


def words(bits):
    return st.lists(st.sampled_from([-1.0, 1.0]), min_size=bits, max_size=bits)


@given(st.integers(1, 12).flatmap(words), st.floats(0.1, 8))
def test_signs_lie_in_the_box_and_on_the_sphere_of_every_norm(word, p):
    """The supplement's Eq. 1, sufficiency."""
    values = np.array(word)
    assert np.abs(values).max() <= 1 and (np.abs(values) ** p).sum() == pytest.approx(len(word))


@given(st.lists(st.floats(-1, 1), min_size=1, max_size=12), st.floats(0.1, 8))
def test_nothing_else_in_the_box_is_on_that_sphere(word, p):
    """Necessity: one coordinate inside the box makes the sum smaller than the number of bits."""
    values = np.array(word)
    short = len(word) - (np.abs(values) ** p).sum()
    inside = 1 - np.abs(values).min()
    # 1 - x^p >= min(p, 1) (1 - x) for x in [0, 1].
    assert short >= min(p, 1) * inside - 1e-12
