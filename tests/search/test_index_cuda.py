"""An index on a CUDA device, in shards or streamed to it, answers as one on the CPU."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

from semicon_fast.search import HammingIndex, ShardedHammingIndex

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
]
DEVICE = "cuda"
BITS = [1, 12, 64, 130, 1024]


def drawn(rows, bits, seed, distinct=40):
    rng = np.random.default_rng(seed)
    codes = rng.integers(0, 256, (distinct or rows, -(-bits // 8)), dtype=np.uint8)
    codes[:, -1] &= 255 >> (-bits % 8)
    return torch.from_numpy(codes[rng.integers(0, distinct, rows)] if distinct else codes)


def filled(index, bits, count=5000):
    """With ids in gaps, some taken out, some put in between."""
    index.add(drawn(count, bits, 0), torch.randperm(count, generator=torch.manual_seed(0)) * 3)
    index.remove_ids(torch.arange(0, 3 * count, 21))
    index.add(drawn(50, bits, 1))
    index.add(drawn(50, bits, 2), torch.arange(50) * 3 + 1)
    return index


def assert_equal(found, wanted, *what):
    for one, other in zip(found, wanted, strict=True):
        one, other = torch.as_tensor(one).cpu(), torch.as_tensor(other)
        assert one.dtype == other.dtype and torch.equal(one, other), what


def assert_same_answers(index, wanted, bits):
    queries = drawn(33, bits, 3)
    ids = wanted.ids()
    assert np.array_equal(index.ids(), ids) and len(index) == len(wanted)
    assert_equal([index.reconstruct(torch.from_numpy(ids))], [wanted.reconstruct(ids)])
    mask = torch.from_numpy(np.random.default_rng(4).random(len(ids)) < 0.3)
    for subset in (None, ids[::3], mask):
        for asked in (queries, queries.to(DEVICE), queries.numpy()):
            for k in (1, 100, len(ids) + 5):
                found = index.search(asked, k, subset=subset)
                assert_equal(found, wanted.search(queries, k, subset=subset), k)
                assert all(type(part) is type(asked) for part in found)
                if isinstance(asked, torch.Tensor):
                    assert all(part.device == asked.device for part in found)
            found = index.range_search(asked, bits // 3, subset=subset)
            assert_equal(found, wanted.range_search(queries, bits // 3, subset=subset))
            assert_equal(index.rank(asked, subset=subset), wanted.rank(queries, subset=subset))


@pytest.mark.parametrize("bits", BITS)
def test_an_index_on_the_device_answers_as_one_on_the_cpu(bits, tmp_path):
    wanted, index = filled(HammingIndex(bits), bits), filled(HammingIndex(bits, DEVICE), bits)
    assert_same_answers(index, wanted, bits)
    index.save(tmp_path / "index")
    loaded = HammingIndex.load(tmp_path / "index", DEVICE)
    assert loaded.device == index.device
    assert_same_answers(loaded, wanted, bits)
    groups = {"a": slice(0, 1), "b": slice(1, bits)} if bits > 1 else {"a": slice(0, 1)}
    wanted.bit_groups = index.bit_groups = groups
    queries = drawn(5, bits, 5)
    for weights in (None, {"a": 2}, {"a": 0.5}):
        found = index.search(queries.to(DEVICE), 20, weights=weights, by_part=True)
        assert_equal(found, wanted.search(queries, 20, weights=weights, by_part=True), weights)


def test_an_index_goes_to_the_device_and_back():
    index = filled(HammingIndex(48), 48)
    there = index.to(DEVICE)
    assert there.device.type == "cuda" and there.to(DEVICE) is there
    assert_same_answers(there, index, 48)
    there.add(drawn(10, 48, 6))
    assert len(there) == len(index) + 10
    back = there.to("cpu")
    assert back.device.type == "cpu" and np.array_equal(back.ids(), there.ids())
    assert_same_answers(there, back, 48)


@pytest.mark.parametrize("bits", BITS)
@pytest.mark.parametrize("blocks", [1, 2, 3, 7])
@pytest.mark.parametrize("memory", ["ordinary", "pinned", "mapped"])
def test_a_streamed_index_answers_as_the_index_does(bits, blocks, memory, tmp_path):
    wanted = filled(HammingIndex(bits), bits)
    index = wanted.pin_memory() if memory == "pinned" else wanted
    if memory == "mapped":
        wanted.save(tmp_path / "index")
        index = HammingIndex.load(tmp_path / "index")
    width = -(-bits // 8)
    streamed = index.streamed(DEVICE, memory=2 * width * -(-len(index) // blocks))
    queries = drawn(33, bits, 3)
    for asked in (queries, queries.to(DEVICE)):
        for k in (1, 100, len(wanted) + 5):
            assert_equal(streamed.search(asked, k), wanted.search(queries, k), k)
        found = streamed.range_search(asked, bits // 3)
        assert_equal(found, wanted.range_search(queries, bits // 3))
        assert_equal(streamed.rank(asked), wanted.rank(queries))
        assert_equal(
            streamed.search(asked, 9, subset=wanted.ids()[::5]),
            wanted.search(queries, 9, subset=wanted.ids()[::5]),
        )


def test_streamed_blocks_stay_within_their_memory_and_come_from_many_threads():
    index = HammingIndex(64)
    index.add(drawn(4_000_000, 64, 7, distinct=None))
    streamed = index.streamed(DEVICE, memory=4 << 20)
    asked = [drawn(20, 64, 30 + i, distinct=None) for i in range(6)]
    wanted = [index.search(queries, 50) for queries in asked]
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    assert_equal(streamed.search(asked[0], 50), wanted[0])
    assert torch.cuda.max_memory_allocated() - before <= (4 << 20) + (272 << 20)

    def search(i):
        with torch.cuda.stream(torch.cuda.Stream()):
            return streamed.search(asked[i % 6], 50)

    with ThreadPoolExecutor(6) as pool:
        for i, found in enumerate(pool.map(search, range(24))):
            assert_equal(found, wanted[i % 6], i)


def every_device():
    return [f"cuda:{i}" for i in range(torch.cuda.device_count())]


@pytest.mark.parametrize("bits", BITS)
@pytest.mark.parametrize("devices", [["cuda", "cuda"], ["cuda", "cpu", "cuda"], "all"])
def test_shards_on_devices_answer_as_one_index_does(bits, devices):
    index = ShardedHammingIndex(bits, every_device() if devices == "all" else devices)
    assert_same_answers(filled(index, bits), filled(HammingIndex(bits), bits), bits)


def busy():
    """Keeps the current stream at work for about a tenth of a second."""
    torch.cuda._sleep(200_000_000)


@pytest.mark.parametrize("make", [lambda: HammingIndex(64, DEVICE), lambda: sharded()])
def test_a_search_waits_for_what_another_stream_is_still_adding(make):
    wanted, index = HammingIndex(64), make()
    codes = drawn(200_000, 64, 13, distinct=None)
    wanted.add(codes)
    queries, on_device = drawn(9, 64, 8).to(DEVICE), codes.to(DEVICE)
    adding, searching = torch.cuda.Stream(), torch.cuda.Stream()
    torch.cuda.synchronize()
    with torch.cuda.stream(adding):
        busy()
        index.add(on_device)
    with torch.cuda.stream(searching):
        found = index.search(queries, 30)
    searching.synchronize()
    assert_equal(found, wanted.search(queries.cpu(), 30))


def sharded():
    return ShardedHammingIndex(64, [DEVICE, DEVICE])


def test_codes_that_are_replaced_stay_until_another_stream_has_read_them():
    index = HammingIndex(64, DEVICE)
    index.add(drawn(1_000_000, 64, 9, distinct=None))
    queries = drawn(9, 64, 10).to(DEVICE)
    wanted = index.search(queries, 30)
    searching = torch.cuda.Stream()
    torch.cuda.synchronize()
    with torch.cuda.stream(searching):
        busy()
        found = index.search(queries, 30)
    index.remove_ids(torch.arange(999_990))
    # What takes the old codes' memory, if it was given back too early.
    junk = [torch.zeros(1_000_000, 8, dtype=torch.uint8, device=DEVICE) for _ in range(4)]
    torch.cuda.synchronize()
    assert_equal(found, [part.cpu() for part in wanted])
    del junk


def test_searches_while_others_change_the_index_are_those_of_one_state():
    index, plain = HammingIndex(24, DEVICE), HammingIndex(24)
    queries = drawn(4, 24, 11)
    states = [tuple(part.numpy().tobytes() for part in plain.search(queries, 9))]
    for step in range(40):
        plain.add(drawn(37, 24, 100 + step))
        states.append(tuple(part.numpy().tobytes() for part in plain.search(queries, 9)))

    def search(_):
        last = 0
        with torch.cuda.stream(torch.cuda.Stream()):
            for _ in range(60):
                found = index.search(queries, 9)
                last = states.index(tuple(part.numpy().tobytes() for part in found), last)
        return last

    with ThreadPoolExecutor(4) as pool:
        searches = [pool.submit(search, i) for i in range(4)]
        for step in range(40):
            with torch.cuda.stream(torch.cuda.Stream()):
                index.add(drawn(37, 24, 100 + step))
        assert all(s.result() <= 40 for s in searches)
    assert_equal(index.search(queries, 9), plain.search(queries, 9))


def test_an_index_that_does_not_fit_is_an_error_that_changes_nothing():
    index = HammingIndex(64, DEVICE)
    index.add(drawn(100, 64, 12))
    with pytest.raises(MemoryError, match="count must fit into memory"):
        index.reserve(10**13)
    assert len(index) == 100
    assert not index.search(drawn(2, 64, 12), 1)[0].any()
    with pytest.raises(ValueError, match="pin_memory: the index must be on the CPU"):
        index.pin_memory()
