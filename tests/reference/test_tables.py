"""Multi-index hashing by its definition: certificates, candidates, pairs, against plain loops."""

import itertools

import numpy as np
import pytest
import torch

from semicon_fast.reference import tables

# Codes 00000000, 00000001, 00110000, 00010001, 11111111 in two tables of 4 bits, query 0.
EXAMPLE = torch.tensor([[0b0], [0b1], [0b110000], [0b10001], [0b11111111]], dtype=torch.uint8)
QUERY = torch.zeros(1, 1, dtype=torch.uint8)
HALVES = [(0, 4), (4, 4)]


def found(radius):
    """Ids that the example's tables find up to this radius."""
    least = tables.piece_differences(QUERY, EXAMPLE, HALVES).amin(2)[0]
    return (least <= radius).nonzero().flatten().tolist()


def test_tables_find_what_the_example_says():
    assert found(0) == [0, 1, 2] and tables.certificate([0, 0]) == 1
    assert found(1) == [0, 1, 2, 3] and tables.certificate([1, 1]) == 3
    assert found(4) == [0, 1, 2, 3, 4]
    near, where = tables.candidates_topk(QUERY, EXAMPLE, HALVES, 3, 3)
    assert near.tolist() == [[0, 1, 2]] and where.tolist() == [[0, 1, 2]]


@pytest.mark.parametrize("radii", [[0, 0], [1, 0], [0, 2, 1], [-1, 2], [-1, -1], [3]])
def test_no_code_within_the_certificate_is_missed(radii):
    """All codes of 6 bits, cut as evenly as they go into so many pieces."""
    codes = torch.arange(64, dtype=torch.uint8)[:, None]
    edges = np.linspace(0, 6, len(radii) + 1).astype(int)
    pieces = [(int(a), int(b - a)) for a, b in itertools.pairwise(edges)]
    differences = tables.piece_differences(codes[:1], codes, pieces)[0]
    missed = (differences > torch.tensor(radii)).all(1)
    distances = differences.sum(1)
    everything = any(radius >= bits for radius, (_, bits) in zip(radii, pieces, strict=True))
    assert missed.any() == (not everything)
    assert everything or distances[missed].min() == tables.certificate(radii) + 1


@pytest.mark.parametrize("candidates, k", [(1, 1), (7, 3), (20, 20), (64, 9)])
def test_candidates_are_the_first_by_radius_distance_and_position(candidates, k):
    rng = np.random.default_rng(candidates)
    codes = rng.integers(0, 2, (64, 11))
    queries = rng.integers(0, 2, (4, 11))
    pieces = [(0, 4), (4, 4), (8, 3)]
    packed = [
        torch.from_numpy(np.packbits(bits.astype(np.uint8), axis=1, bitorder="little"))
        for bits in (queries, codes)
    ]
    near, where = tables.candidates_topk(*packed, pieces, candidates, k)
    for row, query in enumerate(queries):
        keys = []
        for i, code in enumerate(codes):
            differing = query != code
            radius = min(int(differing[a : a + n].sum()) for a, n in pieces)
            keys.append((radius, int(differing.sum()), i))
        wanted = sorted(key[1:] for key in sorted(keys)[:candidates])[:k]
        assert list(zip(near[row].tolist(), where[row].tolist(), strict=True)) == wanted


def test_pairs_and_what_they_connect():
    """A chain 0 - 1 - 3 by single bits, a pair of equal codes, and one on its own."""
    codes = torch.tensor([[0], [1], [0xF0], [3], [0xF0], [0x0C]], dtype=torch.uint8)
    first, second, distances = tables.close_pairs(codes, 1)
    pairs = zip(first.tolist(), second.tolist(), distances.tolist(), strict=True)
    assert list(pairs) == [(0, 1, 1), (1, 3, 1), (2, 4, 0)]
    assert tables.connected(first, second, 6).tolist() == [0, 0, 2, 0, 2, 5]


@pytest.mark.parametrize("seed", range(20))
def test_components_are_those_of_a_search_from_every_node(seed):
    rng = np.random.default_rng(seed)
    count, edges = 40, rng.integers(0, 40, (rng.integers(0, 60), 2))
    roots = tables.connected(*torch.from_numpy(edges).T.contiguous(), count)
    for node in range(count):
        reached, rest = {node}, [node]
        while rest:
            at = rest.pop()
            near = {int(b) for a, b in edges if a == at} | {int(a) for a, b in edges if b == at}
            rest += near - reached
            reached |= near
        assert roots[node] == min(reached)
