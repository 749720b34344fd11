"""Searches and changes from many threads: every answer is that of a state between two changes."""

import threading
import time

import numpy as np
import pytest

from semicon_fast.search import HammingIndex, pack_codes

BITS, STEP, K = 24, 37, 9


def codes(rows, seed=0):
    return pack_codes(np.random.default_rng(seed).standard_normal((rows, BITS)))


ASKED = codes(3, seed=99)


def numbered(index, step):
    index.add(codes(STEP, step))


def named_in_any_order(index, step):
    index.add(codes(STEP, step), np.random.default_rng(step).permutation(STEP) * 1000 + step)


def removed_as_well(index, step):
    if step % 3 == 2:
        index.remove_ids(index.ids()[step % 5 :: 4])
    else:
        numbered(index, step)


def merged(index, step):
    other = HammingIndex(BITS)
    other.add(codes(STEP, step), np.arange(STEP) * 1000 + 999 - step)
    index.merge(other)


def answers(index):
    """What each of the calls says, as bytes."""
    return {
        "search": lambda: index.search(ASKED, K),
        "range_search": lambda: index.range_search(ASKED, 5),
        "rank": lambda: index.rank(ASKED),
        "ids": lambda: (index.ids(),),
    }


def frozen(found):
    return b"|".join(part.tobytes() for part in found)


def states(change, steps):
    """For each call and each state: what it says there."""
    index, seen = HammingIndex(BITS), {name: [] for name in answers(None)}
    for step in range(steps + 1):
        for name, call in answers(index).items():
            seen[name].append(frozen(call()))
        if step < steps:
            change(index, step)
    return seen


def watch(call, possible, stop, problems, together):
    """Asks until stopped: every answer is a possible one, and never an older one than before."""
    together.wait()
    last = 0
    while not stop.is_set():
        found = frozen(call())
        try:
            last = possible.index(found, last)
        except ValueError:
            problems.append("an answer of no state, or of an older one")
            return


def stress(change, steps):
    seen, index = states(change, steps), HammingIndex(BITS)
    stop, problems, together = threading.Event(), [], threading.Barrier(9)
    watchers = [
        threading.Thread(target=watch, args=(call, seen[name], stop, problems, together))
        for name, call in answers(index).items()
        for _ in range(2)
    ]
    for watcher in watchers:
        watcher.start()
    together.wait()
    try:
        for step in range(steps):
            change(index, step)
            time.sleep(0.0005)
    finally:
        stop.set()
        for watcher in watchers:
            watcher.join()
    assert not problems
    assert frozen(index.rank(ASKED)) == seen["rank"][-1]


CHANGES = [numbered, named_in_any_order, removed_as_well, merged]


@pytest.mark.parametrize("change", CHANGES)
def test_every_answer_is_that_of_a_state_between_two_changes(change):
    stress(change, 40)


@pytest.mark.slow
@pytest.mark.parametrize("change", CHANGES)
def test_every_answer_is_that_of_a_state_also_in_the_long_run(change):
    stress(change, 900)


def test_additions_from_many_threads_are_all_there_once():
    index, together = HammingIndex(BITS), threading.Barrier(8)

    def add(part):
        together.wait()
        for step in range(25):
            index.add(codes(3, 100 * part + step))

    adders = [threading.Thread(target=add, args=(part,)) for part in range(8)]
    for adder in adders:
        adder.start()
    for adder in adders:
        adder.join()
    assert index.ids().tolist() == list(range(8 * 25 * 3))
    given = [codes(3, 100 * part + step).tobytes() for part in range(8) for step in range(25)]
    kept = index.reconstruct(index.ids()).reshape(-1, 3 * 3)
    assert sorted(row.tobytes() for row in kept) == sorted(given)


def test_a_save_during_additions_is_one_state(tmp_path):
    index, stop = HammingIndex(BITS), threading.Event()
    everything = np.concatenate([codes(STEP, step) for step in range(200)])

    def add():
        for step in range(200):
            index.add(codes(STEP, step))
        stop.set()

    adder = threading.Thread(target=add)
    adder.start()
    while not stop.is_set():
        index.save(tmp_path / "index")
        back = HammingIndex.load(tmp_path / "index", verify=True)
        assert len(back) % STEP == 0
        kept = back.reconstruct(back.ids())
        assert np.array_equal(kept, everything[: len(back)])
    adder.join()
