"""Batches made by other processes: whole, in order, and never overwritten while they are read."""

import multiprocessing
import signal
import time

import numpy as np
import pytest
import torch

from semicon_fast.data import BrokenImageError, workers
from semicon_fast.data.workers import map_in_workers

SHAPE = 3, 3, 4, 4


def batch(key):
    """Between 0 and 3 images, all of whose pixels are `key`."""
    pixels = torch.full((key % 4, *SHAPE[1:]), key, dtype=torch.uint8)
    return pixels, {"key": key, "array": np.arange(key)}


@pytest.mark.parametrize("processes", [0, 1, 2])
def test_every_batch_comes_once_in_order_and_stays_as_it_was_made(processes, monkeypatch):
    taken = workers._copied

    def late(pixels, pinned):
        # Long enough for every process to fill all it may fill meanwhile.
        time.sleep(0.02)
        return taken(pixels, pinned)

    monkeypatch.setattr(workers, "_copied", late)
    found = list(map_in_workers(batch, range(40), SHAPE, processes))
    assert [rest["key"] for _, rest in found] == list(range(40))
    assert all(torch.equal(pixels, batch(key)[0]) for key, (pixels, _) in enumerate(found))
    assert all(np.array_equal(rest["array"], np.arange(rest["key"])) for _, rest in found)
    assert all(isinstance(rest["array"], np.ndarray) for _, rest in found)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_batches_for_a_device_lie_in_page_locked_memory_and_stay_whole():
    found = list(map_in_workers(batch, range(40), SHAPE, 2, pinned=True))
    on_device = [pixels.to("cuda", non_blocking=True) for pixels, _ in found]
    assert all(pixels.is_pinned() for pixels, _ in found if len(pixels))
    assert all(torch.equal(got.cpu(), batch(i)[0]) for i, got in enumerate(on_device))


def test_no_batch_is_no_error():
    assert list(map_in_workers(batch, [], SHAPE, 2)) == []


def test_too_little_shared_memory_is_said_before_a_process_starts(monkeypatch):
    def full(tensor):
        raise RuntimeError("No space left on device (28)")

    monkeypatch.setattr(torch.Tensor, "share_memory_", full)
    with pytest.raises(OSError, match=r"^worker processes need 15 MiB of shared.*fewer workers"):
        next(map_in_workers(batch, range(4), (16, 3, 256, 256), 2))


def broken_at_2(key):
    if key == 2:
        raise BrokenImageError("no image")
    return batch(key)


@pytest.mark.parametrize("processes", [0, 2])
def test_an_image_that_does_not_decode_ends_the_batches_with_its_own_error(processes):
    found = map_in_workers(broken_at_2, range(5), SHAPE, processes)
    assert [rest["key"] for _, rest in (next(found), next(found))] == [0, 1]
    with pytest.raises(BrokenImageError, match=r"^no image$"):
        next(found)


def _idle_worker(grace):
    workers.GRACE_SECONDS = grace
    workers.leave_signals_to_the_main_process(0)
    while True:
        time.sleep(0.1)


def test_a_worker_outlives_a_signal_to_all_but_no_main_process_waits_for_ever():
    worker = multiprocessing.get_context("fork").Process(target=_idle_worker, args=(1,))
    worker.start()
    time.sleep(0.5)
    began = time.monotonic()
    worker.terminate()
    worker.join(60)
    assert worker.exitcode == -signal.SIGALRM and time.monotonic() - began > 0.5
