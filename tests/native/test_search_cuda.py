"""Every path on a CUDA device gives the integers of the reference and of the CPU's engine."""

from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from semicon_fast import native, ops

pytest.importorskip("hypothesis")  # a machine with a GPU need not have it
from generated_searches import QUIET, assert_all_equal, cases, check  # noqa: E402
from hypothesis import given, settings  # noqa: E402

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
]
OPS = torch.ops.semicon_fast
LAYOUTS = ["whole", "columns of a wider table", "every second row", "transposed", "odd address"]
LAYOUTS += ["one row for all"]


@pytest.fixture(scope="module")
def paths():
    """Names of the ways to compare pairs, the choice by itself first."""
    assert native.load_cuda(), native.cuda_status()["reason"]
    return OPS._cuda_paths()


@pytest.fixture
def each_path(paths):
    """Call it to go through them; afterwards the choice is automatic again."""

    def go():
        for path in paths:
            assert OPS._use_cuda_path(path)
            yield path

    yield go
    OPS._use_cuda_path("automatic")


def on_device(tensor):
    """The same memory on the device, with the same strides and offset into it."""
    flat = torch.empty(0, dtype=tensor.dtype).set_(tensor.untyped_storage())
    return flat.cuda().as_strided(tensor.size(), tensor.stride(), tensor.storage_offset())


def topk(queries, database, k):
    return [tensor.cpu() for tensor in ops.hamming_topk(queries, database, k)]


@settings(max_examples=200, **QUIET)
@given(case=cases())
def test_every_answer_equals_the_reference(each_path, case):
    check(case, each_path, "cuda")


@pytest.mark.slow
@pytest.mark.timeout(3600)
@settings(max_examples=3000, **QUIET)
@given(case=cases())
def test_thousands_of_answers_equal_the_reference(each_path, case):
    check(case, each_path, "cuda")


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("width", [1, 2, 3, 6, 8, 12, 16, 33, 128])
def test_memory_of_any_layout_is_read_as_it_lies(each_path, codes, layout, width):
    queries, database = (codes(n, width, seed=n, layout=layout) for n in (21, 5000))
    wanted = ops.hamming_topk(queries, database, 60)
    histogram = ops.hamming_histogram(queries, database)
    for path in each_path():
        assert_all_equal(topk(on_device(queries), on_device(database), 60), wanted, path)
        found = ops.hamming_histogram(on_device(queries), on_device(database))
        assert torch.equal(found.cpu(), histogram), path


@pytest.mark.parametrize("queries", [1, 4, 33, 700])
@pytest.mark.parametrize(
    "width, distinct", [(2, None), (3, None), (6, None), (8, None), (8, 5), (16, 900), (32, None)]
)
def test_many_codes_give_the_answers_of_the_cpu(each_path, codes, queries, width, distinct):
    database = codes(300_000, width, seed=1, distinct=distinct)
    asked = codes(queries, width, seed=2, distinct=distinct)
    wanted = ops.hamming_topk(asked, database, 20_000)
    on = asked.cuda(), database.cuda()
    for path in each_path():
        for k in (1, 100, 3000, 20_000):
            assert_all_equal(topk(*on, k), [part[:, :k] for part in wanted], path, k)


def test_all_codes_alike_come_in_order_of_position(each_path):
    database = torch.zeros(100_000, 8, dtype=torch.uint8, device="cuda")
    for path in each_path():
        near, where = topk(database[:40], database, 5000)
        assert not near.any(), path
        assert torch.equal(where, torch.arange(5000).expand(40, 5000)), path


def test_searches_on_several_streams_at_once_do_not_mix(paths, codes):
    database = codes(200_000, 8, seed=3).cuda()
    asked = [codes(q, 8, seed=10 + q).cuda() for q in (1, 5, 64, 300)]
    wanted = [ops.hamming_topk(queries, database, 200) for queries in asked]
    torch.cuda.synchronize()
    streams = [torch.cuda.Stream() for _ in asked]
    found = []
    for _ in range(8):
        for stream, queries in zip(streams, asked, strict=True):
            with torch.cuda.stream(stream):
                found.append(ops.hamming_topk(queries, database, 200))
    torch.cuda.synchronize()
    for i, pair in enumerate(found):
        assert_all_equal(pair, wanted[i % len(asked)], i)


def test_searches_of_several_threads_at_once_do_not_mix(paths, codes):
    database = codes(200_000, 8, seed=4).cuda()
    asked = [codes(q, 8, seed=20 + q).cuda() for q in (1, 5, 64, 300)]
    wanted = [ops.hamming_topk(queries, database, 200) for queries in asked]
    torch.cuda.synchronize()

    def search(i):
        stream = torch.cuda.Stream()
        with torch.cuda.stream(stream):
            found = ops.hamming_topk(asked[i % 4], database, 200)
        stream.synchronize()
        return found

    with ThreadPoolExecutor(8) as pool:
        for i, found in enumerate(pool.map(search, range(48))):
            assert_all_equal(found, wanted[i % 4], i)


@pytest.mark.parametrize("queries, k", [(1, 100), (64, 10), (64, 4000)])
def test_a_graph_replays_a_search_for_other_queries(each_path, codes, queries, k):
    database = codes(100_000, 8, seed=5).cuda()
    first, second = (codes(queries, 8, seed=s).cuda() for s in (6, 7))
    for path in each_path():
        held = first.clone()
        wanted = [ops.hamming_topk(asked, database, k) for asked in (first, second)]
        out = tuple(torch.empty_like(part) for part in wanted[0])
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            found = ops.hamming_topk(held, database, k)
            ops.hamming_topk(held, database, k, out)
            counts = ops.hamming_histogram(held, database)
        for asked, expected in zip((first, second), wanted, strict=True):
            held.copy_(asked)
            graph.replay()
            assert_all_equal(found, expected, path)
            assert_all_equal(out, expected, path)
            assert torch.equal(counts, ops.hamming_histogram(asked, database)), path


def test_nothing_waits_for_the_device_unless_a_size_is_asked_for(paths, codes):
    queries, database = codes(50, 8, seed=8).cuda(), codes(50_000, 8, seed=9).cuda()
    groups = torch.zeros(50, dtype=torch.int64, device="cuda")
    members = torch.arange(0, 50_000, 7, device="cuda")
    lims = torch.tensor([0, len(members)], device="cuda")
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        ops.hamming_topk(queries, database, 100)
        ops.hamming_histogram(queries, database)
        ops.hamming_distance(queries, database[:1000])
        ops.hamming_group_histogram(queries, database, groups, members, lims)
        with pytest.raises(RuntimeError, match="synchronizing"):
            ops.hamming_range(queries, database, 5)
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.parametrize("k", [10, 1000, 100_000])
def test_workspace_is_bounded_and_given_back(each_path, codes, k):
    queries, database = codes(500, 8, seed=11).cuda(), codes(1_000_000, 8, seed=12).cuda()
    for path in each_path():
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        found = ops.hamming_topk(queries, database, k)
        kept = sum(part.nbytes for part in found)
        peak = torch.cuda.max_memory_allocated() - before - kept
        assert peak <= 272 << 20, (path, peak)
        del found
        assert torch.cuda.memory_allocated() == before, path


def test_results_that_do_not_fit_are_an_error_and_nothing_else(paths, codes):
    database = codes(1_000_000, 8, seed=13).cuda()
    many = database[:1].expand(1_000_000, 8)
    with pytest.raises(torch.OutOfMemoryError):
        ops.hamming_topk(many, database, 1_000_000)
    near, _ = topk(database[:3], database, 1)
    assert not near.any()


def wrong_calls():
    queries = torch.zeros(2, 3, dtype=torch.uint8)
    one, none = torch.zeros(1, dtype=torch.int64), torch.zeros(0, dtype=torch.int64)
    two, bad = torch.zeros(2, dtype=torch.int64), torch.tensor([5, 5])
    lims = torch.tensor([0, 2])
    yield "hamming_topk", (queries.int(), queries, 1), "queries must be packed uint8"
    yield "hamming_topk", (queries[0], queries, 1), r"queries must be .rows, bytes. with 1 to 512"
    yield "hamming_topk", (queries, queries[:, :2], 1), "equally many bytes per code, got 3 and 2"
    yield "hamming_topk", (queries, queries, 3), "k must be >= 0 and <= 2, the size of the database"
    yield "hamming_range", (queries, queries, -1), "radius must be >= 0, got -1"
    yield "hamming_ranks", (queries, queries, one, none, lims), "groups must have one entry"
    yield "hamming_ranks", (queries, queries, two, none, lims), "lims must ascend from 0 to the"
    yield "hamming_ranks", (queries, queries, two, bad, lims), "members must be positions in the"
    yield "hamming_ranks", (queries, queries, two, two, lims), "ascending within a group"
    both = torch.tensor([0, 1])
    yield "hamming_ranks", (queries, queries, bad, both, lims), "groups must be at least 0 and"


@pytest.mark.parametrize("op, arguments, words", list(wrong_calls()))
def test_wrong_operands_get_the_sentence_of_the_cpu(paths, isas, op, arguments, words):
    for device in ("cpu", "cuda"):
        given = [x.to(device) if isinstance(x, torch.Tensor) else x for x in arguments]
        with pytest.raises((TypeError, ValueError), match=words):
            getattr(OPS, op)(*given)


def test_groups_that_point_nowhere_are_left_out_of_histograms(paths, codes):
    queries, database = codes(4, 8, seed=14).cuda(), codes(100, 8, seed=15).cuda()
    groups = torch.tensor([0, -5, 1, 2**40], device="cuda")
    members = torch.tensor([3, 4, 2**50, -9], device="cuda")
    lims = torch.tensor([0, 2, 4], device="cuda")
    found = ops.hamming_group_histogram(queries, database, groups, members, lims)
    assert found.sum(1)[[0, 1, 3]].tolist() == [2, 0, 0]


def test_a_path_that_nobody_knows_is_refused(paths):
    assert paths[0] == "automatic" and not OPS._use_cuda_path("guess")


@pytest.mark.parametrize("path", ["popcount", "binary", "int8"])
def test_the_inner_loop_alone_says_how_many_pairs_it_compared(paths, path):
    on = torch.empty(0, device="cuda")
    pairs = [OPS._cuda_compare_only(on, path, 8, iterations) for iterations in (3, 6)]
    torch.cuda.synchronize()
    assert pairs[1] == 2 * pairs[0] > 0
