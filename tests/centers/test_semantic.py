"""SHC's centers: the least distance holds, similar classes are nearer, no sweep makes it worse."""

import pytest
import torch

from semicon_fast import centers


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def grouped(classes, bits, size=5):
    """Similarities of classes in groups of `size` whose features differ little."""
    groups = -(-classes // size)
    middle = torch.randn(groups, 32, generator=seeded(1)).repeat_interleave(size, 0)[:classes]
    return centers.class_similarity(middle + torch.randn(classes, 32, generator=seeded(2)), bits)


def value(found, similarity, limit):
    products = found.double() @ found.double().T
    row, column = torch.triu_indices(len(found), len(found), 1)
    targets = ((similarity + similarity.T) / 2)[row, column]
    product = products[row, column]
    total = product.sum() / (len(found) - 1) + (product - targets).square().sum()
    return float((product - limit).clamp(min=0).sum()), float(total)


@pytest.mark.parametrize("classes, bits", [(20, 12), (30, 16), (24, 48)])
def test_the_least_distance_is_reached_and_similar_classes_are_nearer(classes, bits):
    similarity = grouped(classes, bits)
    found = centers.semantic(classes, bits, seeded(), similarity=similarity, sweeps=3)
    assert centers.quality(found).least >= centers.gilbert_varshamov(classes, bits)
    table = centers.distances(found).double()
    group = torch.arange(classes) // 5
    same = (group[:, None] == group) & ~torch.eye(classes, dtype=torch.bool)
    assert table[same].mean() < 0.9 * table[group[:, None] != group].mean()


@pytest.mark.parametrize("start", ["given", "own"])
def test_no_sweep_makes_the_centers_worse(start):
    similarity = grouped(20, 16)
    limit = 16 - 2 * centers.gilbert_varshamov(20, 16)
    first = centers.random(20, 16, seeded()) if start == "given" else None
    scores = []
    for sweeps in range(3):
        found = centers.semantic(
            20, 16, seeded(), similarity=similarity, sweeps=sweeps, start=first
        )
        scores.append(value(found, similarity, limit))
    assert scores == sorted(scores, reverse=True) and scores[-1] < scores[0]


def test_similarities_of_codes_give_codes_of_the_same_distances():
    codes = centers.random(8, 16, seeded(4)).double()
    found = centers.semantic(8, 16, seeded(), similarity=codes @ codes.T, least=1)
    assert torch.equal(centers.distances(found), centers.distances(codes))


def test_with_a_smaller_distance_centers_follow_the_similarities_more():
    similarity = grouped(20, 16)
    found = [
        centers.semantic(20, 16, seeded(), similarity=similarity, least=d, sweeps=3) for d in (1, 5)
    ]
    near, far = (value(x, similarity, 16)[1] for x in found)
    assert near < far and centers.quality(found[1]).least >= 5


def test_without_similarities_the_mean_distance_exceeds_that_of_a_hadamard_matrix():
    found = centers.quality(centers.semantic(10, 48, seeded(), sweeps=2))
    assert found.least >= centers.gilbert_varshamov(10, 48) and found.mean > 24


def test_centers_differ_even_where_the_distance_cannot_be_kept():
    similarity = centers.class_similarity(torch.ones(8, 2) + torch.rand(8, 2) / 9, 3)
    found = centers.semantic(8, 3, seeded(), similarity=similarity)
    assert len(found.unique(dim=0)) == 8


def test_two_classes_are_opposite():
    similarity = centers.class_similarity(torch.randn(2, 4), 12)
    found = centers.semantic(2, 12, seeded(), similarity=similarity)
    assert centers.quality(found).least == 12


@pytest.mark.parametrize(
    "options, sentence",
    [
        ({"similarity": torch.zeros(3, 4)}, r"similarity must be \(4, 4\).*got \(3, 4\)"),
        ({"similarity": torch.full((4, 4), torch.nan)}, "similarity must be finite"),
        ({"least": 9}, "least must be an integer from 1 to 8, got 9"),
        ({"alpha": 0.0}, "alpha must be a finite number above 0"),
        ({"sweeps": -1}, "sweeps must be an integer >= 0"),
        ({"start": torch.ones(3, 8)}, r"start must be \(4, 8\), got \(3, 8\)"),
    ],
)
def test_wrong_arguments_are_refused_by_name(options, sentence):
    with pytest.raises(ValueError, match=sentence):
        centers.semantic(4, 8, seeded(), **options)


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("bits, classes", [(16, 100), (32, 200), (48, 200), (64, 555)])
def test_the_published_sizes_reach_the_least_distance(bits, classes):
    similarity = grouped(classes, bits)
    found = centers.semantic(classes, bits, seeded(), similarity=similarity, sweeps=2)
    assert centers.quality(found).least >= centers.gilbert_varshamov(classes, bits)
