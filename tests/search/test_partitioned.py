"""Shards and streamed blocks give, number for number, what one index gives."""

import contextlib
import types

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from semicon_fast.search import HammingIndex, ShardedHammingIndex, _blocks, _file
from semicon_fast.search._blocks import blocks_on

QUIET = {
    "deadline": None,
    "derandomize": True,
    "suppress_health_check": list(HealthCheck),
}


def drawn(rng, rows, bits, distinct):
    """uint8 (rows, bytes); few distinct ones give many ties."""
    codes = rng.integers(0, 256, (distinct or rows, -(-bits // 8)), dtype=np.uint8)
    codes[:, -1] &= 255 >> (-bits % 8)
    return codes[rng.integers(0, distinct, rows)] if distinct else codes


def equal(found, wanted):
    for one, other in zip(found, wanted, strict=True):
        assert type(one) is type(other) and one.dtype == other.dtype
        assert np.array_equal(np.asarray(one), np.asarray(other))


def assert_same_answers(index, wanted, queries, k, radius, subsets=(None,)):
    for subset in subsets:
        equal(index.search(queries, k, subset=subset), wanted.search(queries, k, subset=subset))
        found = index.range_search(queries, radius, subset=subset)
        equal(found, wanted.range_search(queries, radius, subset=subset))
        equal(index.rank(queries, subset=subset), wanted.rank(queries, subset=subset))
    out = (
        np.empty((len(queries), len(wanted)), np.int32),
        np.empty((len(queries), len(wanted)), int),
    )
    assert index.rank(queries, out=out) is out
    equal(out, wanted.rank(queries))


@st.composite
def histories(draw):
    """Sizes of additions with how they are numbered, and shares of codes removed between them."""
    return {
        "bits": draw(st.sampled_from([1, 7, 12, 48, 64, 130])),
        "distinct": draw(st.sampled_from([0, 1, 3, 9])),
        "shards": draw(st.integers(1, 4)),
        "steps": draw(
            st.lists(
                st.tuples(
                    st.sampled_from(["numbered", "above", "anywhere", "removed"]),
                    st.sampled_from([0, 1, 2, 5, 40, 150]),
                ),
                max_size=5,
            )
        ),
        "k": draw(st.sampled_from([1, 2, 10, 90, 400])),
        "seed": draw(st.integers(0, 2**31)),
    }


def changed(case, indexes, rng):
    """Both indexes after the same changes."""
    for step, size in case["steps"]:
        codes = drawn(rng, size, case["bits"], case["distinct"])
        held = indexes[0].ids()
        ids = None
        if step == "above":
            ids = rng.permutation(np.arange(size)) + 1000 * len(held) + (held.max(initial=0) + 1)
        if step == "anywhere":
            ids = np.setdiff1d(rng.permutation(5 * (len(held) + size)), held)[:size]
            codes = codes[: len(ids)]
        for index in indexes:
            if step == "removed":
                assert index.remove_ids(held[: len(held) // 3]) == len(held) // 3
            else:
                index.add(codes, ids)


@settings(max_examples=60, **QUIET)
@given(case=histories())
def test_shards_answer_as_one_index_does(case):
    rng = np.random.default_rng(case["seed"])
    one = HammingIndex(case["bits"])
    sharded = ShardedHammingIndex(case["bits"], ["cpu"] * case["shards"])
    changed(case, (one, sharded), rng)
    ids = one.ids()
    assert len(sharded) == len(one) and np.array_equal(sharded.ids(), ids)
    assert np.array_equal(sharded.reconstruct(ids[::2]), one.reconstruct(ids[::2]))
    subsets = [None, rng.random(len(ids)) < 0.4, rng.permutation(ids)[: len(ids) // 2]]
    queries = drawn(rng, 5, case["bits"], case["distinct"])
    assert_same_answers(sharded, one, queries, case["k"], case["bits"] // 3, subsets)


@settings(max_examples=30, **QUIET)
@given(case=histories(), share=st.sampled_from([0.0, 0.1, 0.34, 0.6, 3.0]))
def test_blocks_answer_as_one_index_does(case, share):
    rng = np.random.default_rng(case["seed"])
    one = HammingIndex(case["bits"])
    changed(case, (one,), rng)
    width = -(-case["bits"] // 8)
    streamed = one.streamed("cpu", memory=2 * width * max(1, int(share * len(one))))
    assert len(streamed) == len(one)
    subsets = [None, rng.random(len(one)) < 0.4]
    queries = drawn(rng, 5, case["bits"], case["distinct"])
    assert_same_answers(streamed, one, queries, case["k"], case["bits"] // 3, subsets)


def test_shards_hold_the_same_number():
    index = ShardedHammingIndex(16, ["cpu"] * 3)
    rng = np.random.default_rng(0)
    for size in (1, 7, 100, 3):
        index.add(drawn(rng, size, 16, 0))
        assert max(index.sizes) - min(index.sizes) <= 2
    index.remove_ids(index.ids()[:60])
    index.add(drawn(rng, 90, 16, 0))
    assert max(index.sizes) - min(index.sizes) <= 2 and len(index) == 141


def test_tensors_give_tensors_and_a_file_serves_both_classes(tmp_path):
    codes = torch.from_numpy(drawn(np.random.default_rng(1), 300, 40, 30))
    sharded = ShardedHammingIndex(40, ["cpu", "cpu"])
    sharded.add(codes, torch.arange(300) * 3)
    sharded.remove_ids([897])
    sharded.save(tmp_path / "a")
    one = HammingIndex.load(tmp_path / "a")
    one.save(tmp_path / "b")
    again = ShardedHammingIndex.load(tmp_path / "b", ["cpu"] * 3)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    for index in (sharded, again):
        equal(index.search(codes[:4], 9), one.search(codes[:4], 9))
        index.add(codes[:1])
        assert index.ids()[-1] == 898  # a removed id does not come back
    plain = ShardedHammingIndex(40, ["cpu", "cpu"])
    plain.add(codes)
    plain.save(tmp_path / "c")
    assert _file.read(tmp_path / "c", verify=True).ids is None


def test_a_change_that_is_refused_changes_nothing():
    index = ShardedHammingIndex(8, ["cpu", "cpu"])
    index.add(np.arange(10, dtype=np.uint8)[:, None])
    one = np.zeros((2, 1), np.uint8)
    for ids, words in (([3, 50], "3 is in the index"), ([8, 51], "8 is in"), ([50, 50], "50 more")):
        with pytest.raises(ValueError, match=words):
            index.add(one, ids)
    with pytest.raises(ValueError, match="1 of 2 are not, the first is 77"):
        index.remove_ids([1, 77])
    with pytest.raises(ValueError, match="ids must be one for each of the 2 codes, got 1"):
        index.add(one, [50])
    with pytest.raises(ValueError, match="subset must be ids, or a mask .* 10 codes, got a mask"):
        index.search(one, 1, subset=np.ones(9, bool))
    assert index.ids().tolist() == list(range(10))


@pytest.mark.parametrize(
    "devices, error, words",
    [
        ("cuda", TypeError, "devices must be a list of devices, got 'cuda'"),
        ([], ValueError, "devices must name at least one device, got none"),
        (["cpu", "nowhere"], ValueError, "device must be one of this machine's, got 'nowhere'"),
    ],
)
def test_wrong_devices_are_refused(devices, error, words):
    with pytest.raises(error, match=words):
        ShardedHammingIndex(8, devices)


def test_a_stream_with_room_for_less_than_two_codes_is_refused():
    with pytest.raises(ValueError, match="memory must be an integer >= 16, got 15"):
        HammingIndex(64).streamed("cpu", memory=15)


def test_a_ranking_into_arrays_of_another_shape_is_refused():
    index = ShardedHammingIndex(8, ["cpu"])
    index.add(np.zeros((3, 1), np.uint8))
    out = np.empty((1, 2), np.int32), np.empty((1, 2), np.int64)
    with pytest.raises(ValueError, match=r"out must hold torch.int32 and be \(1, 3\), got"):
        index.rank(np.zeros((1, 1), np.uint8), out=out)


def test_an_index_moves_to_its_own_device_for_nothing_and_pins_only_beside_cuda():
    index = HammingIndex(16)
    assert index.to("cpu") is index and index.to(torch.device("cpu")) is index
    with pytest.raises(ValueError, match="device must be one of this machine's, got 'nowhere'"):
        index.to("nowhere")
    if not torch.cuda.is_available():
        with pytest.raises(ValueError, match="pin_memory: .* with a CUDA device, got cpu"):
            index.pin_memory()


class Stream:
    """Does at once what it is told; waits only for what has been recorded."""

    def __init__(self, device=None):
        self.waited = []

    def record_event(self):
        return types.SimpleNamespace(synchronize=lambda: None)

    def wait_event(self, event):
        assert event is not None
        self.waited.append(event)

    def wait_stream(self, stream):
        self.waited.append(stream)


@pytest.fixture
def pretended_device(monkeypatch):
    """A CUDA device as far as copying in blocks needs one: its memory is the CPU's."""
    reader, made = Stream(), []
    nothing = contextlib.nullcontext

    def empty(*shape, pin_memory, **options):
        made.append(torch.empty(*shape, **options))
        return made[-1]

    cuda = types.SimpleNamespace(
        Stream=Stream,
        Event=object,
        current_stream=lambda device: reader,
        device=lambda device: nothing(),
        stream=lambda stream: nothing(),
    )
    monkeypatch.setattr(_blocks, "torch", types.SimpleNamespace(cuda=cuda, empty=empty))
    return reader, made


@pytest.mark.parametrize("count, rows", [(1, 1), (7, 2), (8, 2), (9, 4), (5, 50)])
def test_blocks_come_in_order_through_two_buffers(pretended_device, count, rows):
    reader, staging = pretended_device
    codes = torch.arange(3 * count, dtype=torch.uint8).view(count, 3)
    seen, buffers = [], set()
    for first, block in blocks_on(codes, torch.device("cpu:0"), rows):
        assert torch.equal(block, codes[first : first + rows])
        buffers.add(block.data_ptr())
        seen.append(first)
    assert seen == list(range(0, count, rows)) and len(buffers) == min(2, len(seen))
    # One wait for each block, and one for the copies' end.
    assert len(reader.waited) == len(seen) + 1 and len(staging) == 2


def test_blocks_that_nobody_wants_any_more_leave_no_thread(pretended_device):
    import threading

    codes = torch.zeros(100, 3, dtype=torch.uint8)
    blocks = blocks_on(codes, torch.device("cpu:0"), 10)
    next(blocks)
    blocks.close()
    assert not [t for t in threading.enumerate() if "semicon_fast-copies" in t.name]
