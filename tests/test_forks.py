"""What a forked process finds: free locks, and as many threads as its parent has."""

import multiprocessing
import os
import threading

import children
import pytest
import torch

from semicon_fast import native
from semicon_fast.forks import Lock

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
CONTEXT = multiprocessing.get_context("fork")


def in_child(function, seconds=30):
    return children.in_process(CONTEXT, function, seconds=seconds)


def entered(lock):
    with lock:
        return True


def test_a_lock_excludes_threads_and_is_released_after_an_error():
    lock, order = Lock(), []

    def second():
        with lock:
            order.append("second")

    thread = threading.Thread(target=second)
    with pytest.raises(KeyError), lock:
        thread.start()
        thread.join(0.05)
        order.append("first")
        raise KeyError
    thread.join()
    assert order == ["first", "second"]


@pytest.mark.parametrize("lock", [Lock(), native._LOCK], ids=["new", "of the kernels' build"])
def test_a_lock_that_another_thread_held_is_free_in_the_child(lock):
    held, done = threading.Event(), threading.Event()

    def hold():
        with lock:
            held.set()
            done.wait(60)

    thread = threading.Thread(target=hold)
    thread.start()
    try:
        assert held.wait(30) and in_child(lambda: entered(lock))
        assert lock._lock.locked()
    finally:
        done.set()
        thread.join()


def test_parallel_operators_go_on_in_parent_and_child_with_as_many_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        values = torch.ones(1_000_000)
        for _ in range(3):
            assert in_child(lambda: (float((values + 1).sum()), torch.get_num_threads())) == (
                2e6,
                3,
            )
            assert float((values + 1).sum()) == 2e6
    finally:
        torch.set_num_threads(before)


def test_children_of_a_child_go_on():
    values = torch.ones(1_000_000)
    assert in_child(lambda: in_child(lambda: float((values + 1).sum()))) == 2e6
