"""The Hamming operations: registration, fakes, and what they refuse."""

import pytest
import torch

from semicon_fast import native, ops
from semicon_fast.reference import hamming as reference

OPS = {
    "hamming_distance": (),
    "hamming_topk": (5,),
    "hamming_range": (6,),
    "hamming_histogram": (),
    "hamming_ranks": (
        torch.tensor([0, 1, 2, 1, 0, 0]),
        torch.tensor([0, 3, 49, 7, 8]),
        torch.tensor([0, 3, 5, 5]),
    ),
    "hamming_group_histogram": (
        torch.tensor([0, 1, 2, 1, 0, 0]),
        torch.tensor([0, 3, 49, 7, 8]),
        torch.tensor([0, 3, 5, 5]),
    ),
}


def codes(rows, bytes_, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(256, (rows, bytes_), generator=generator, dtype=torch.uint8)


def as_tuple(value):
    return value if isinstance(value, tuple) else (value,)


@pytest.mark.parametrize("name", OPS)
def test_operation_equals_its_reference(name):
    queries, database = codes(6, 3), codes(50, 3, seed=1)
    found = as_tuple(getattr(ops, name)(queries, database, *OPS[name]))
    wanted = as_tuple(getattr(reference, name)(queries, database, *OPS[name]))
    assert all(torch.equal(a, b) for a, b in zip(found, wanted, strict=True))


@pytest.mark.parametrize("name", OPS)
def test_operation_is_registered_as_torch_wants_it(name):
    op = getattr(torch.ops.semicon_fast, name).default
    torch.library.opcheck(op, (codes(6, 3), codes(50, 3, seed=1), *OPS[name]))


def test_operation_compiles_into_one_graph():
    compiled = torch.compile(
        lambda q, c: ops.hamming_topk(q, c, 3)[1] + 1, fullgraph=True, backend="aot_eager"
    )
    queries, database = codes(6, 3), codes(50, 3, seed=1)
    assert torch.equal(compiled(queries, database), ops.hamming_topk(queries, database, 3)[1] + 1)


@pytest.mark.parametrize("name", OPS)
@pytest.mark.parametrize(
    "queries, database, error, words",
    [
        (codes(2, 3).numpy(), codes(2, 3), TypeError, "queries must be a tensor, got ndarray"),
        (
            codes(2, 3),
            codes(2, 3).int(),
            TypeError,
            "database must be packed uint8, got torch.int32",
        ),
        (codes(2, 3)[0], codes(2, 3), ValueError, r"queries must be \(rows, bytes\)"),
        (codes(2, 3).to_sparse(), codes(2, 3), TypeError, "queries must be a dense tensor"),
        (codes(2, 3), codes(2, 4), ValueError, "equally many bytes per code, got 3 and 4"),
        (codes(2, 513), codes(2, 513), ValueError, "1 to 512 bytes"),
        (codes(2, 3), codes(2, 3).to("meta"), ValueError, "one device, got cpu and meta"),
    ],
)
def test_operation_refuses_in_a_sentence(name, queries, database, error, words):
    with pytest.raises(error, match=f"{name}: .*{words}"):
        getattr(ops, name)(queries, database, *OPS[name])


@pytest.mark.parametrize(
    "call, error, words",
    [
        (lambda q: ops.hamming_topk(q, q, 3), ValueError, "k must be >= 0 and <= 2, .* got 3"),
        (lambda q: ops.hamming_topk(q, q, -1), ValueError, "k must be >= 0 .* got -1"),
        (lambda q: ops.hamming_topk(q, q, 1.0), TypeError, "k must be an integer, got 1.0"),
        (lambda q: ops.hamming_range(q, q, -1), ValueError, "radius must be >= 0, got -1"),
    ],
)
def test_operation_refuses_numbers_out_of_range(call, error, words):
    with pytest.raises(error, match=words):
        call(codes(2, 3))


def by_class(labels, classes):
    """(members, lims) of every class."""
    sizes = torch.bincount(labels, minlength=classes)
    return labels.sort(stable=True).indices, torch.cat([sizes.new_zeros(1), sizes.cumsum(0)])


@pytest.mark.parametrize(
    "rows, size, bytes_, classes",
    [(37, 1000, 1, 7), (3, 70_000, 6, 5), (1, 40_000, 2, 1), (300, 900, 17, 60), (5, 0, 3, 2)],
)
def test_ranks_and_histograms_of_groups_equal_those_of_whole_rankings(rows, size, bytes_, classes):
    queries, database = codes(rows, bytes_), codes(size, bytes_, seed=1)
    generator = torch.Generator().manual_seed(2)
    labels = torch.randint(classes, (size,), generator=generator)
    groups = torch.randint(classes, (rows,), generator=generator)
    members, lims = by_class(labels, classes)
    ranks = ops.hamming_ranks(queries, database, groups, members, lims)
    distances, order = ops.hamming_topk(queries, database, size)
    hits = labels[order] == groups.unsqueeze(1)
    assert torch.equal(ranks, hits.nonzero()[:, 1] + 1)
    counts = ops.hamming_group_histogram(queries, database, groups, members, lims)
    wanted = torch.zeros_like(counts).scatter_add_(1, distances.long(), hits.long())
    assert torch.equal(counts, wanted)


@pytest.mark.parametrize("name", ["hamming_ranks", "hamming_group_histogram"])
@pytest.mark.parametrize(
    "groups, members, lims, error, words",
    [
        ([0.0], [0], [0, 1], TypeError, "groups must be an int64 tensor"),
        ([0, 0], [0], [0, 1], ValueError, "one entry for each of the 1 queries, got 2"),
        ([1], [0], [0, 1], ValueError, "groups must be at least 0 and less than 1"),
        ([-1], [0], [0, 1], ValueError, "groups must be at least 0"),
        ([0], [9], [0, 1], ValueError, "positions in the database of 5 codes"),
        ([0], [-1], [0, 1], ValueError, "positions in the database"),
        ([0], [3, 2], [0, 2], ValueError, "ascending within a group"),
        ([0], [0], [0, 2], ValueError, "lims must ascend from 0 to the number of members, 1"),
        ([0], [0], [1, 1], ValueError, "lims must ascend"),
    ],
)
@pytest.mark.skipif(not native.load(), reason="the reference leaves indexing to torch")
def test_groups_that_point_elsewhere_are_refused(name, groups, members, lims, error, words):
    vectors = (torch.tensor(values) for values in (groups, members, lims))
    with pytest.raises(error, match=f"{name}: .*{words}"):
        getattr(ops, name)(codes(1, 3), codes(5, 3), *vectors)


def test_results_are_written_where_they_are_wanted():
    queries, database = codes(6, 3), codes(50, 3, seed=1)
    wanted = ops.hamming_topk(queries, database, 50)
    out = torch.empty(6, 50, dtype=torch.int32), torch.empty(6, 50, dtype=torch.int64)
    found = ops.hamming_topk(queries, database, 50, out)
    assert found is out and all(map(torch.equal, out, wanted))


def test_the_operation_with_outputs_is_registered_as_torch_wants_it():
    out = torch.zeros(6, 5, dtype=torch.int32), torch.zeros(6, 5, dtype=torch.int64)
    op = torch.ops.semicon_fast.hamming_topk_out.default
    torch.library.opcheck(op, (codes(6, 3), codes(50, 3, seed=1), 5, *out))


@pytest.mark.parametrize(
    "distances, positions, error, words",
    [
        (torch.empty(6, 5), torch.empty(6, 5).long(), TypeError, "distances must be a torch.int32"),
        (torch.empty(6, 5).int(), [1], TypeError, "positions must be a torch.int64 .* got list"),
        (torch.empty(6, 4).int(), torch.empty(6, 5).long(), ValueError, r"contiguous \(6, 5\)"),
        (torch.empty(6, 5).int(), torch.empty(5, 6).long().T, ValueError, "with strides"),
    ],
)
def test_outputs_that_do_not_fit_are_refused(distances, positions, error, words):
    with pytest.raises(error, match=words):
        ops.hamming_topk(codes(6, 3), codes(50, 3), 5, (distances, positions))


def test_a_radius_beyond_every_number_of_bits_takes_all():
    queries = codes(2, 3)
    lims, _, _ = ops.hamming_range(queries, queries, 2**63)
    assert lims.tolist() == [0, 2, 4]
