"""What processes started by tests run: functions of a module that they can import by name."""

import copy
import threading

import numpy as np
import torch

BITS = 44
given = None


def codes(count, seed=0):
    packed = np.random.default_rng(seed).integers(0, 256, (count, 6), dtype=np.uint8)
    packed[:, -1] &= 0x0F
    return packed


def answers(index):
    """Every answer of an index as arrays, at last those of a copy that codes were added to."""
    asked = codes(3, seed=9)
    found = [*index.search(asked, 4), *index.range_search(asked, 18), *index.rank(asked)]
    if groups := getattr(index, "bit_groups", None):
        found += index.search(asked, 4, weights={next(iter(groups)): 0.5}, by_part=True)
    if hasattr(index, "add"):
        index = copy.copy(index)
        index.add(asked)
        found += [index.ids(), *index.search(asked, 3)]
    return found


def all_answers(indexes):
    return {name: answers(index) for name, index in indexes.items()}


def equal(some, others):
    """Whether two results of `all_answers` are the same."""
    for name, arrays in some.items():
        for one, other in zip(arrays, others[name], strict=True):
            np.testing.assert_array_equal(one, other, name)
    return some.keys() == others.keys()


def keep(indexes):
    global given
    given = indexes


def answers_of_kept():
    return all_answers(given)


def send(connection, function, *arguments):
    connection.send(function(*arguments))


class Neighbours(torch.utils.data.Dataset):
    """Item i: the ids of the neighbours of code i, as an index finds them."""

    def __init__(self, index):
        self.index = index

    def __len__(self):
        return 6

    def __getitem__(self, i):
        return torch.from_numpy(self.index.search(codes(6, seed=9)[i : i + 1], 3)[1][0])


def many_answers(index):
    """Searches, changes and parallel operators of PyTorch, from several threads at once."""
    found = [None] * 3

    def work(number):
        found[number] = index.search(codes(64, seed=9), 5)[1]

    threads = [threading.Thread(target=work, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    index.add(codes(10, seed=8))
    total = int((torch.ones(1_000_000, dtype=torch.int64) + 1).sum())
    return found, len(index), total


def in_process(context, function, *arguments, seconds=60):
    """What `function` returns in another process, started by `context` of multiprocessing."""
    mine, its = context.Pipe()
    process = context.Process(target=send, args=(its, function, *arguments))
    process.start()
    its.close()
    try:
        assert mine.poll(seconds), "the process hangs"
        return mine.recv()
    finally:
        process.kill()
        process.join()
