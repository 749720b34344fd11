"""Indexes in other processes: as arguments, in pools, in a DataLoader's dataset; after a fork."""

import copy
import gc
import multiprocessing
import os
import pickle
import threading
from concurrent.futures import ProcessPoolExecutor

import children
import numpy as np
import pytest
import torch
from children import BITS, codes

from semicon_fast.search import HammingIndex, ShardedHammingIndex, _store
from semicon_fast.search.gallery import Gallery

forks = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")


def made(**options):
    index = HammingIndex(BITS, **options)
    index.add(codes(50))
    return index


def changed(index, change):
    change(index)
    return index


@pytest.fixture(scope="module")
def kinds(tmp_path_factory):
    """Every kind of index, by name."""
    path = tmp_path_factory.mktemp("indexes") / "index.hamming"
    made().save(path)
    sharded = ShardedHammingIndex(BITS, ["cpu", "cpu"])
    sharded.add(codes(50), np.arange(50) * 3)
    named = HammingIndex(BITS)
    named.add(codes(50), np.arange(50)[::-1] * 7)
    return {
        "empty": HammingIndex(BITS),
        "filled": made(),
        "named": named,
        "removed": changed(made(), lambda index: index.remove_ids([0, 30, 49])),
        "reserved": changed(made(), lambda index: index.reserve(100_000)),
        "grown": changed(made(), lambda index: index.add(codes(1, seed=5))),
        "groups": made(bit_groups={"a": slice(0, 20), "b": [20, BITS]}),
        "mapped": HammingIndex.load(path),
        "mapped, changed": changed(HammingIndex.load(path), lambda index: index.add(codes(2))),
        "sharded": sharded,
        "streamed": made().streamed("cpu", 64),
        "mapped and streamed": HammingIndex.load(path).streamed("cpu", 64),
        "gallery": Gallery(codes(50), BITS, ["x"] * 50).build_index(),
    }


@pytest.fixture(scope="module")
def forkserver():
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["torch.utils.data", "semicon_fast.search.sharded"])
    return context


def buffers_of(index):
    """The size of a pickle, and the sizes of what it keeps apart from it."""
    apart = []
    return len(pickle.dumps(index, 5, buffer_callback=apart.append)), [
        b.raw().nbytes for b in apart
    ]


def test_a_pool_of_spawned_processes_answers_alike(kinds):
    context = multiprocessing.get_context("spawn")
    kept = {"initializer": children.keep, "initargs": (kinds,)}
    with ProcessPoolExecutor(1, mp_context=context, **kept) as pool:
        given = pool.submit(children.answers_of_kept).result(60)
        sent = pool.submit(children.all_answers, kinds).result(60)
    assert children.equal(children.all_answers(kinds), given)
    assert children.equal(children.all_answers(kinds), sent)


@forks
def test_processes_of_a_forkserver_answer_alike(kinds, forkserver):
    found = children.in_process(forkserver, children.all_answers, kinds)
    assert children.equal(children.all_answers(kinds), found)
    queue = forkserver.SimpleQueue()
    queue.put(kinds["named"])
    assert np.array_equal(queue.get().ids(), kinds["named"].ids())


@pytest.mark.parametrize(
    "method, workers",
    [
        pytest.param("fork", 2, marks=forks),
        pytest.param("fork", 1, marks=[forks, pytest.mark.slow]),
        pytest.param("forkserver", 2, marks=[forks, pytest.mark.slow]),
        pytest.param("forkserver", 1, marks=[forks, pytest.mark.slow]),
        pytest.param("spawn", 1, marks=pytest.mark.slow),
        pytest.param("spawn", 2, marks=pytest.mark.slow),
    ],
)
@pytest.mark.parametrize("kind", ["filled", "mapped", "sharded", "mapped and streamed"])
def test_a_dataset_holds_an_index(kinds, forkserver, method, workers, kind, two_threads):
    index = kinds[kind]
    want = index.search(codes(6, seed=9), 3)[1]
    torch.ones(1_000_000).add(1)
    loader = torch.utils.data.DataLoader(
        children.Neighbours(index), 2, num_workers=workers, multiprocessing_context=method
    )
    assert np.array_equal(torch.cat(list(loader)).numpy(), want)


def test_pickles_and_deep_copies_are_indexes_of_their_own(kinds):
    want = children.all_answers(kinds)
    for protocol in (2, pickle.HIGHEST_PROTOCOL):
        found = pickle.loads(pickle.dumps(kinds, protocol))
        assert children.equal(want, children.all_answers(found))
    copies = copy.deepcopy(kinds)
    for index in copies.values():
        if hasattr(index, "add"):
            index.add(codes(20, seed=6))
            index.remove_ids(index.ids()[:5])
    assert children.equal(want, children.all_answers(kinds))


def test_a_copy_and_its_original_are_both_added_to(kinds):
    for name in ("reserved", "sharded", "mapped"):
        index, other = kinds[name], copy.copy(kinds[name])
        index, first = copy.copy(index), int(index.ids()[-1]) + 1
        other.add(codes(1, seed=2))
        index.add(codes(1, seed=3))
        assert np.array_equal(other.reconstruct([first]), codes(1, seed=2))
        assert np.array_equal(index.reconstruct([first]), codes(1, seed=3))


def test_reserved_room_is_not_pickled_and_codes_are_kept_apart(kinds):
    size, apart = buffers_of(kinds["reserved"])
    assert size < 1000 and apart == [50 * 6]
    size, apart = buffers_of(kinds["named"])
    assert size < 1000 and apart == [50 * 6, 50 * 8]


def test_an_open_file_is_pickled_as_its_name(tmp_path, monkeypatch):
    path = tmp_path / "index"
    made().save(path)
    monkeypatch.chdir(tmp_path)
    index = HammingIndex.load("index")
    for each in (index, index.streamed("cpu"), pickle.loads(pickle.dumps(index))):
        size, apart = buffers_of(each)
        assert size < 1000 and not apart
    pickled = pickle.dumps(index)
    monkeypatch.chdir("/")
    assert children.equal(
        {"": children.answers(index)}, {"": children.answers(pickle.loads(pickled))}
    )
    path.rename(tmp_path / "elsewhere")
    with pytest.raises(
        ValueError, match=r"the index was pickled as the name of its file, which.*No"
    ):
        pickle.loads(pickled)
    other = made()
    other.remove_ids([3])
    other.add(codes(1))
    other.save(path)
    with pytest.raises(ValueError, match=rf"name of its file, {path}, which has other content now"):
        pickle.loads(pickled)
    # The mapped memory still is that of the file that was renamed.
    assert buffers_of(index)[1] == [50 * 6]
    assert np.array_equal(copy.deepcopy(index).reconstruct([3]), codes(50)[3:4])


def test_changed_codes_of_a_file_are_pickled(tmp_path):
    made().save(tmp_path / "index")
    index = HammingIndex.load(tmp_path / "index")
    index.add(codes(1))
    pickled = pickle.dumps(index)
    (tmp_path / "index").unlink()
    assert len(pickle.loads(pickled)) == 51


def test_a_device_that_is_missing_is_named():
    arrays = codes(3), None, 3, "cuda:77"
    with pytest.raises(
        ValueError, match=r"pickled on device 'cuda:77', which this .* does not have"
    ):
        _store._unpickled(*arrays)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_an_index_on_a_device_returns_to_it():
    index = pickle.loads(pickle.dumps(made(device="cuda")))
    assert index.device.type == "cuda" and np.array_equal(index.ids(), np.arange(50))
    assert np.array_equal(index.search(codes(3), 4)[1], made().search(codes(3), 4)[1])


@pytest.fixture
def two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@forks
def test_a_forked_process_searches_after_its_parent_has(two_threads):
    """Without new threads for OpenMP it would wait for those of its parent."""
    index = HammingIndex(BITS)
    index.add(codes(100_000))
    want = index.search(codes(64, seed=9), 5)[1]
    torch.ones(1_000_000).add(1)
    context = multiprocessing.get_context("fork")
    for _ in range(5):
        found, size, total = children.in_process(context, children.many_answers, index)
        assert all(np.array_equal(ids, want) for ids in found)
        assert (size, total) == (100_010, 2_000_000)
    assert torch.get_num_threads() == 2
    del index
    gc.collect()


@forks
@pytest.mark.parametrize("kind", ["filled", "sharded"])
def test_a_process_forked_during_a_change_can_change_the_index(kinds, kind):
    index = copy.copy(kinds[kind])
    context = multiprocessing.get_context("fork")
    held, done = threading.Event(), threading.Event()

    def change():
        with index._changing:
            held.set()
            done.wait(60)

    thread = threading.Thread(target=change)
    thread.start()
    try:
        assert held.wait(60)
        assert children.in_process(context, children.many_answers, index)[1] == 60
    finally:
        done.set()
        thread.join()
    index.add(codes(1))
