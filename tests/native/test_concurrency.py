"""Searches from many threads, and with many, give what one search alone gives."""

from concurrent.futures import ThreadPoolExecutor

import torch


def run(op, *arguments):
    found = getattr(torch.ops.semicon_fast, op)(*arguments)
    return found if isinstance(found, tuple) else (found,)


def test_searches_at_once_give_the_same_answers(isas, codes, threads):
    threads(2)
    database = codes(50_000, 8, seed=1, distinct=9_000)
    jobs = [
        (op, codes(q, 8, seed=10 + i), database, extra)
        for i, q in enumerate((1, 3, 20, 64))
        for op, extra in (("hamming_topk", 50), ("hamming_topk", 20_000), ("hamming_range", 18))
    ]
    alone = [run(*job) for job in jobs]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(lambda job: run(*job), jobs * 6))
    for i, found in enumerate(together):
        for one, other in zip(found, alone[i % len(jobs)], strict=True):
            assert torch.equal(one, other), jobs[i % len(jobs)][0]


def test_the_number_of_threads_does_not_show(isas, codes, threads):
    database = codes(150_000, 6, seed=2, distinct=2_000)
    queries = codes(30, 6, seed=3)
    answers = []
    for count in (1, 2, 7):
        threads(count)
        answers.append(
            (
                *run("hamming_topk", queries, database, 500),
                *run("hamming_range", queries, database, 12),
                *run("hamming_histogram", queries, database),
            )
        )
    for other in answers[1:]:
        for one, two in zip(answers[0], other, strict=True):
            assert torch.equal(one, two)


def test_other_python_threads_run_during_a_search(isas, codes, threads):
    """The operation lets go of the interpreter: a counter advances while one search runs."""
    import threading

    threads(1)
    database = codes(1_000_000, 8, seed=4)
    queries = codes(4000, 8, seed=5)  # long enough for a busy machine to run the counter
    counted, stop = [0], threading.Event()

    def count():
        while not stop.is_set():
            counted[0] += 1

    other = threading.Thread(target=count)
    other.start()
    try:
        before = counted[0]
        run("hamming_topk", queries, database, 10)
        during = counted[0] - before
    finally:
        stop.set()
        other.join()
    assert during > 100
