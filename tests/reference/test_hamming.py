"""The truth against bit by bit counting in Python."""

import pytest
import torch

from semicon_fast.reference import hamming

SIZES = [(3, 5, 1), (1, 1, 6), (7, 40, 8), (2, 9, 38), (4, 3, 512)]


def codes(rows, bytes_, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(256, (rows, bytes_), generator=generator, dtype=torch.uint8)


def counted(queries, database):
    return torch.tensor(
        [
            [sum((a ^ b).bit_count() for a, b in zip(q, c, strict=True)) for c in database.tolist()]
            for q in queries.tolist()
        ],
        dtype=torch.int32,
    ).view(len(queries), len(database))


@pytest.fixture(params=[1 << 22, 64, 1], ids=["one-block", "small-blocks", "tiny-blocks"])
def blocks(request, monkeypatch):
    monkeypatch.setattr(hamming, "_PAIRS", request.param)


def test_bits_unpack_least_significant_first():
    packed = torch.tensor([[0b00000101, 0b10000000]], dtype=torch.uint8)
    assert hamming.unpack_bits(packed)[0].tolist() == [1, 0, 1] + [0] * 12 + [1]


@pytest.mark.parametrize("rows, size, bytes_", SIZES)
def test_distance_counts_differing_bits(blocks, rows, size, bytes_):
    queries, database = codes(rows, bytes_), codes(size, bytes_, seed=1)
    found = hamming.hamming_distance(queries, database)
    assert found.dtype is torch.int32 and torch.equal(found, counted(queries, database))


@pytest.mark.parametrize("k", [0, 1, 2, 3, 40, 47, 90])
def test_topk_is_the_beginning_of_the_stable_sort(blocks, k):
    # Codes of 4 kinds only: nearly every distance is a tie.
    database = codes(90, 1) & 3
    queries = codes(5, 1, seed=1) & 7
    every = counted(queries, database).sort(dim=1, stable=True)
    distances, positions = hamming.hamming_topk(queries, database, k)
    assert torch.equal(distances, every.values[:, :k])
    assert torch.equal(positions, every.indices[:, :k])


@pytest.mark.parametrize("bytes_", [31, 32, 33, 512])
def test_full_ranking_of_long_codes_tells_distances_above_255_apart(bytes_):
    bits = torch.arange(8 * bytes_) < torch.arange(8 * bytes_, -1, -1).unsqueeze(1)
    weights = 2 ** torch.arange(8)
    database = (bits.view(-1, bytes_, 8) * weights).sum(-1).to(torch.uint8)
    distances, positions = hamming.hamming_topk(database[-1:], database, len(database))
    assert distances[0].tolist() == list(range(8 * bytes_ + 1))
    assert positions[0].tolist() == list(range(8 * bytes_, -1, -1))


@pytest.mark.parametrize("radius", [0, 3, 11, 16])
def test_range_holds_the_whole_ball_in_order(blocks, radius):
    queries, database = codes(4, 2), codes(33, 2, seed=1)
    every = counted(queries, database)
    lims, distances, positions = hamming.hamming_range(queries, database, radius)
    assert lims.tolist() == [0, *(every <= radius).sum(1).cumsum(0).tolist()]
    for row, (start, stop) in enumerate(zip(lims[:-1], lims[1:], strict=True)):
        order = every[row].sort(stable=True)
        assert torch.equal(distances[start:stop], order.values[: stop - start])
        assert torch.equal(positions[start:stop], order.indices[: stop - start])


def test_histogram_counts_each_distance(blocks):
    queries, database = codes(4, 2), codes(33, 2, seed=1)
    every = counted(queries, database)
    wanted = torch.stack([torch.bincount(row, minlength=17) for row in every])
    assert torch.equal(hamming.hamming_histogram(queries, database), wanted)


def test_farthest_codes_of_4096_bits_are_exact_also_under_autocast():
    zeros, ones = torch.zeros(1, 512, dtype=torch.uint8), torch.full((1, 512), 255).byte()
    almost = ones.clone()
    almost[0, 100] = 254
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = hamming.hamming_distance(zeros, torch.cat([zeros, ones, almost]))
    assert found.tolist() == [[0, 4096, 4095]]


def test_strided_codes_give_what_their_copies_give():
    queries, database = codes(10, 6), codes(24, 6, seed=1)
    views = queries[::2, 1:4], database.flip(0)[::3, 1:4]
    wanted = counted(*(v.contiguous() for v in views))
    assert torch.equal(hamming.hamming_distance(*views), wanted)
    assert torch.equal(hamming.hamming_topk(*views, 8)[0], wanted.sort(dim=1).values)


@pytest.mark.parametrize("rows, size", [(0, 4), (3, 0), (0, 0)])
def test_no_rows_give_no_rows(rows, size):
    queries, database = codes(rows, 2), codes(size, 2)
    assert hamming.hamming_distance(queries, database).shape == (rows, size)
    assert hamming.hamming_topk(queries, database, size)[1].shape == (rows, size)
    assert hamming.hamming_histogram(queries, database).sum() == 0
    assert hamming.hamming_range(queries, database, 16)[0].tolist() == [0] * (rows + 1)
