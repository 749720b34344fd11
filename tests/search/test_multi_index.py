"""MultiIndex against HammingIndex: the same results, whatever the tables are."""

import copy
import threading
from pickle import dumps, loads

import numpy as np
import pytest
import torch
from generated_searches import QUIET, drawn, numbers
from hypothesis import given, settings
from hypothesis import strategies as st

import semicon_fast as sf
from semicon_fast.ops import tables as ops
from semicon_fast.reference import tables as reference
from semicon_fast.search import HammingIndex, MultiIndex, pack_codes
from semicon_fast.search import _tables as planned

BITS = 24


def codes(rows, bits=BITS, seed=0):
    return pack_codes(np.random.default_rng(seed).standard_normal((rows, bits)))


def clustered(rng, rows, bits, flips):
    """Codes around at most 5 centers, each with some of `flips` bits flipped."""
    centers = rng.integers(0, 2, (5, bits))
    found = centers[rng.integers(0, 5, rows)]
    for _ in range(flips):
        found[np.arange(rows), rng.integers(0, bits, rows)] ^= rng.integers(0, 2, rows)
    return np.packbits(found.astype(np.uint8), axis=1, bitorder="little")


@st.composite
def cases(draw):
    bits = draw(st.one_of(st.integers(1, 130), st.sampled_from([8, 12, 16, 32, 48, 64, 128, 256])))
    tables = draw(st.one_of(st.none(), st.integers(-(-bits // 64), min(bits, 9))))
    widest = min(bits, 64)
    least = 1 if tables is None else -(-bits // tables)
    per_table = draw(st.one_of(st.none(), st.integers(max(least, -(-bits // 16)), widest)))
    if tables is not None and per_table is not None and tables * per_table < bits:
        per_table = None
    return {
        "bits": bits,
        "tables": tables,
        "bits_per_table": per_table,
        "count": draw(st.one_of(st.integers(0, 12), st.integers(0, 600), st.just(1500))),
        "queries": draw(st.sampled_from([0, 1, 2, 5, 17])),
        "kind": draw(st.sampled_from(["uniform", "few", "one", "clustered"])),
        "ids": draw(st.sampled_from(["numbered", "gaps", "shuffled"])),
        "parts": draw(st.integers(1, 4)),
        "k": draw(st.one_of(st.integers(1, 12), st.integers(1, 700))),
        "radius": draw(st.one_of(st.integers(0, 7), st.integers(0, bits + 1))),
        "candidates": draw(st.integers(0, 300)),
        "threads": draw(st.integers(1, 3)),
        # What makes small cases search in tables, and give up at any time.
        "small_scan": draw(st.sampled_from([0, 5, 100, 1024, 30_000])),
        "seed": draw(st.integers(0, 2**31)),
    }


def made(rng, case, rows):
    if case["kind"] == "clustered":
        return clustered(rng, rows, case["bits"], 3)
    distinct = {"uniform": 0, "few": 20, "one": 1}[case["kind"]]
    return drawn(rng, rows, case["bits"], distinct)


def check(case, monkeypatch):
    monkeypatch.setattr(planned, "_SMALL_SCAN", case["small_scan"])
    torch.set_num_threads(case["threads"])
    rng = np.random.default_rng(case["seed"])
    database = made(rng, case, case["count"])
    queries = made(rng, case, case["queries"])
    if len(database) and case["seed"] % 2:
        queries[::2] = database[rng.integers(0, len(database), len(queries[::2]))]
    ids = numbers(rng, len(database), case["ids"])
    scan, index = (
        HammingIndex(case["bits"]),
        MultiIndex(case["bits"], case["tables"], case["bits_per_table"]),
    )
    for part in np.array_split(np.arange(len(database)), case["parts"]):
        own = None if ids is None else ids[part]
        scan.add(database[part], own)
        index.add(database[part], own)
        assert_same(scan, index, queries, case)
    if len(database) > 3:
        gone = scan.ids()[rng.permutation(len(scan))[: len(scan) // 3]]
        assert scan.remove_ids(gone) == index.remove_ids(gone)
        assert_same(scan, index, queries, case)
    return scan, index


def assert_same(scan, index, queries, case):
    for one, other in zip(
        scan.search(queries, case["k"]), index.search(queries, case["k"]), strict=True
    ):
        assert one.dtype == other.dtype and np.array_equal(one, other)
    for one, other in zip(
        scan.range_search(queries, case["radius"]),
        index.range_search(queries, case["radius"]),
        strict=True,
    ):
        assert one.dtype == other.dtype and np.array_equal(one, other)
    assert_protocol(scan, index, queries, case)


def assert_protocol(scan, index, queries, case):
    k, candidates = case["k"], case["k"] + case["candidates"]
    near, ids = index.search(queries, k, candidates=candidates, exact=False)
    database = torch.from_numpy(scan.reconstruct(scan.ids()))
    found = min(k, len(database))
    spans = list(zip(np.cumsum([0, *index.bits_of_tables[:-1]]), index.bits_of_tables, strict=True))
    wanted, where = reference.candidates_topk(
        torch.from_numpy(queries), database, spans, min(candidates, len(database)), found
    )
    assert np.array_equal(near[:, :found], wanted.numpy())
    assert np.array_equal(ids[:, :found], scan.ids()[where.numpy()])
    assert (near[:, found:] == 2**31 - 1).all() and (ids[:, found:] == -1).all()


@pytest.fixture(autouse=True)
def _threads():
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@settings(max_examples=80, **QUIET)
@given(case=cases())
def test_every_result_is_the_scans(monkeypatch, case):
    check(case, monkeypatch)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@settings(max_examples=5000, **QUIET)
@given(case=cases())
def test_thousands_of_results_are_the_scans(monkeypatch, case):
    check(case, monkeypatch)


def test_the_example_of_the_protocol():
    """Radius 0 finds ids 0, 1 and 2, radius 1 finds 3 as well, and only radius 4 the last."""
    index = MultiIndex(8, tables=2)
    index.add(np.array([[0b0], [0b1], [0b110000], [0b10001], [0b11111111]], np.uint8))
    query = np.zeros((1, 1), np.uint8)
    assert index.search(query, 3, exact=False)[1].tolist() == [[0, 1, 2]]
    assert index.search(query, 3, candidates=4, exact=False)[1].tolist() == [[0, 1, 2]]
    distances, ids = index.search(query, 5, exact=False)
    assert ids.tolist() == [[0, 1, 2, 3, 4]] and distances.tolist() == [[0, 1, 2, 2, 8]]


def test_the_protocol_misses_what_no_table_finds_and_the_exact_search_does_not():
    """1000 codes agree with the query in one half and differ in all of the other, distance 4; one
    differs in one bit of each half, distance 2."""
    index = MultiIndex(8, tables=2)
    index.add(np.full((1000, 1), 0b11110000, np.uint8))
    index.add(np.array([[0b00010001]], np.uint8))
    query = np.zeros((1, 1), np.uint8)
    assert index.search(query, 1, candidates=10, exact=False)[0].tolist() == [[4]]
    assert index.search(query, 1, candidates=10)[0].tolist() == [[2]]
    assert index.search(query, 1, candidates=1001, exact=False)[0].tolist() == [[2]]


@pytest.mark.parametrize("tables", [1, 2, 3, 5, 8])
def test_more_candidates_never_make_results_worse(tables):
    index = MultiIndex(BITS, tables)
    index.add(codes(2000))
    asked = codes(20, seed=1)
    before = index.search(asked, 5, exact=False)[0]
    for candidates in (10, 40, 300, 2000):
        found = index.search(asked, 5, candidates=candidates, exact=False)[0]
        assert (found <= before).all()
        before = found
    assert np.array_equal(before, index.search(asked, 5)[0])


@pytest.mark.parametrize("bits, tables, per_table, wanted", [
    (64, 3, None, [22, 21, 21]),
    (64, None, 16, [16] * 4),
    (48, None, 16, [16] * 3),
    (48, None, 8, [8] * 6),
    (50, None, 16, [13, 13, 12, 12]),
    (11, 11, None, [1] * 11),
    (64, 1, None, [64]),
    (256, None, None, [16] + [15] * 16),
])  # fmt: skip
def test_tables_divide_the_bits_evenly(bits, tables, per_table, wanted):
    index = MultiIndex(bits, tables, per_table)
    assert index.bits_of_tables == wanted


@pytest.mark.parametrize("count, bits, tables", [(10**8, 64, 3), (10**6, 64, 4), (10**8, 32, 1)])
def test_the_number_of_tables_suits_the_number_of_codes(count, bits, tables):
    pieces = planned.TableSizes(bits).pieces(count)
    assert len(pieces) == tables and sum(piece.bits for piece in pieces) == bits
    assert all(p.address_bits <= max(16, count.bit_length() - 1) for p in pieces)


@pytest.mark.parametrize("tables, per_table, error, words", [
    (0, None, ValueError, "tables must be an integer from 1 to 24, got 0"),
    (25, None, ValueError, "tables must be an integer from 1 to 24, got 25"),
    (1.5, None, TypeError, "tables must be an integer from 1 to 24, got 1.5"),
    (None, 0, ValueError, "bits_per_table must be an integer from 1 to 24, got 0"),
    (2, 8, ValueError, "at least 3, so that tables of 8 bits cover all 24 bits, got 2"),
    (True, None, TypeError, "tables must be an integer from 1 to 24, got True"),
])  # fmt: skip
def test_tables_that_do_not_cover_the_bits_are_refused(tables, per_table, error, words):
    with pytest.raises(error) as raised:
        MultiIndex(BITS, tables, per_table)
    assert words in str(raised.value)
    index = HammingIndex(BITS)
    with pytest.raises(error) as raised:
        index.build_tables(tables, per_table)
    assert words in str(raised.value) and index.tables_nbytes == 0


def test_pieces_of_more_than_64_bits_are_refused():
    with pytest.raises(ValueError, match="bits_per_table must be at most 64, got 65"):
        MultiIndex(256, bits_per_table=65)
    with pytest.raises(ValueError, match="at least 4, so that tables of at most 64 bits cover all"):
        MultiIndex(256, tables=3)


@pytest.mark.parametrize("call, error, words", [
    (lambda i: i.search(codes(2, 30), 1), ValueError, r"queries must be \(N, 3\)"),
    (lambda i: i.search(codes(2), 0), ValueError, "k must be an integer from 1 to"),
    (lambda i: i.search(codes(2), 5, candidates=4), ValueError, "candidates .* >= 5, got 4"),
    (lambda i: i.search(codes(2), 5, candidates=4.5), TypeError, "candidates must be an integer"),
    (lambda i: i.search(codes(2), 5, exact=1), TypeError, "exact must be True or False, got 1"),
    (lambda i: i.search(codes(2), 5, subset=[1], exact=False), ValueError, "subset must be None"),
    (lambda i: i.search(codes(2), 5, subset=[99]), ValueError, "subset must be in the index"),
    (lambda i: i.range_search(codes(2), -1), ValueError, "radius must be an integer >= 0"),
    (lambda i: i.add(codes(2), [1, 9]), ValueError, "ids must be new, but 1 is in the index"),
    (lambda i: i.remove_ids([10]), ValueError, "ids must be in the index"),
    (lambda i: i.save(3), TypeError, "path must be a string or a path, got int"),
])  # fmt: skip
def test_bad_input_is_a_sentence_and_changes_nothing(call, error, words):
    index = MultiIndex(BITS, tables=2)
    index.add(codes(4))
    before = index._store
    with pytest.raises(error, match=words):
        call(index)
    assert index._store is before and before.tables is None


def test_a_subset_is_searched_as_by_a_scan():
    scan, index = HammingIndex(BITS), MultiIndex(BITS, 3)
    for each in (scan, index):
        each.add(codes(500), np.arange(500) * 2)
    for subset in ([8, 2, 40, 8], np.arange(500) % 3 == 0, []):
        found = [
            (*i.search(codes(3), 7, subset=subset), *i.range_search(codes(3), 6, subset=subset))
            for i in (scan, index)
        ]
        assert all(map(np.array_equal, *found))


def test_tables_are_built_when_needed_and_kept_while_they_hold_enough():
    index = MultiIndex(BITS, 3)
    index.add(codes(800))
    assert index._store.tables is None
    index.search(codes(1), 1)
    first = index._store.tables
    assert first.count == 800 and index.nbytes > 800 * 3 + 3 * 800 * 4
    index.add(codes(100, seed=1))
    index.search(codes(1), 1)
    assert index._store.tables is first, "an eighth is scanned"
    index.add(codes(1, seed=2))
    index.search(codes(1), 1)
    assert index._store.tables.count == 901
    index.remove_ids([5])
    assert index._store.tables is None
    index.build()
    built = index._store.tables
    assert built.count == 900
    index.build()
    assert index._store.tables is built


def test_tables_without_native_kernels_are_scans(monkeypatch):
    monkeypatch.setattr(ops, "_kernels", lambda: None)
    case = {"bits": 24, "tables": 3, "bits_per_table": None, "count": 300, "queries": 5,
            "kind": "few", "ids": "gaps", "parts": 2, "k": 20, "radius": 5, "candidates": 30,
            "threads": 1, "small_scan": 1024, "seed": 3}  # fmt: skip
    _, index = check(case, monkeypatch)
    assert index._store.tables is not None and index._store.tables.nbytes == 0


@pytest.mark.parametrize("made", [copy.copy, copy.deepcopy, lambda i: loads(dumps(i))])
def test_copies_are_independent(made):
    index = MultiIndex(BITS, 3)
    index.add(codes(300))
    index.build()
    other = made(index)
    other.add(codes(1, seed=2))
    index.add(codes(2, seed=3))
    assert (len(index), len(other)) == (302, 301)
    assert other.bits_of_tables == index.bits_of_tables == [8, 8, 8]
    for each, own in ((index, codes(2, seed=3)[:1]), (other, codes(1, seed=2))):
        distances, ids = each.search(own, 1)
        assert distances[0, 0] == 0 and ids[0, 0] == 300


def test_tensors_give_tensors_and_it_says_what_it_is():
    index = sf.MultiIndex(64, tables=4)
    index.add(torch.from_numpy(codes(20, 64)))
    found = (*index.search(torch.from_numpy(codes(2, 64)), 3), *index.range_search(codes(2, 64), 3))
    assert [type(x) for x in found] == [torch.Tensor] * 2 + [np.ndarray] * 3
    assert repr(index) == "MultiIndex(bits=64, tables=4, codes=20)"
    assert repr(HammingIndex(8)) == "HammingIndex(bits=8, device='cpu', codes=0)"


def test_threads_search_while_codes_are_added():
    index, wrong = MultiIndex(BITS, 3), []
    database = codes(3000)
    index.add(database[:1000])

    def search():
        for _ in range(30):
            distances, ids = index.search(database[:50], 1)
            if (distances != 0).any() or (ids < 0).any():
                wrong.append(ids)

    searches = [threading.Thread(target=search) for _ in range(3)]
    for thread in searches:
        thread.start()
    for start in range(1000, 3000, 100):
        index.add(database[start : start + 100])
    for thread in searches:
        thread.join()
    assert not wrong and len(index) == 3000
