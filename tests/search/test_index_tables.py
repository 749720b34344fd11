"""HammingIndex with tables: the same results by every method, and when tables are used."""

import json
from pickle import dumps, loads

import numpy as np
import pytest

from semicon_fast.native import constants
from semicon_fast.ops import _costs
from semicon_fast.search import HammingIndex, _tables, pack_codes
from semicon_fast.search._tables import METHODS, CodeTables

BITS = 32


def codes(rows, seed=0):
    return pack_codes(np.random.default_rng(seed).standard_normal((rows, BITS)))


@pytest.fixture(autouse=True)
def costs(monkeypatch):
    """Fixed costs, in nanoseconds, of a machine on which tables pay even for a few codes."""
    fixed = {"call": 10_000.0, "read": 10.0, "pair": 0.5, "lookup": 10.0}
    monkeypatch.setattr(_costs, "_costs", lambda: fixed)
    return fixed


@pytest.fixture
def searched(monkeypatch):
    """How often tables were searched: `HammingIndex` itself says nothing about it."""
    counts = []
    for name in ("nearest", "in_range"):
        plain = getattr(CodeTables, name)

        def counted(self, *arguments, plain=plain):
            counts.append(len(arguments[0]))
            return plain(self, *arguments)

        monkeypatch.setattr(CodeTables, name, counted)
    return counts


def built(rows=3000, tables=2, ids=None):
    made = HammingIndex(BITS)
    made.add(codes(rows), ids)
    made.build_tables(tables)
    return made


def same(a, b, **options):
    asked = np.concatenate([codes(3, seed=1), codes(2)])
    for k in (1, 10, 500):
        for one, other in zip(a.search(asked, k, **options), b.search(asked, k), strict=True):
            assert np.array_equal(one, other)
    for radius in (0, 2, 9, 40):
        pair = a.range_search(asked, radius, **options), b.range_search(asked, radius)
        for one, other in zip(*pair, strict=True):
            assert np.array_equal(one, other)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("ids", [None, np.arange(3000)[::-1] * 2], ids=["numbered", "named"])
def test_every_method_gives_the_same(method, ids, searched):
    plain = HammingIndex(BITS)
    plain.add(codes(3000), ids)
    same(built(ids=ids), plain, method=method)
    assert bool(searched) == (method != "scan")


def test_codes_added_later_are_found_too():
    made, plain = built(), HammingIndex(BITS)
    plain.add(codes(3000))
    for each in (made, plain):
        each.add(codes(700, seed=5))
    assert made._store.tables.count == 3000
    same(made, plain, method="tables")
    made.build_tables(2)
    assert made._store.tables.count == 3700
    same(made, plain, method="tables")


def test_what_moves_codes_loses_the_tables_and_what_does_not_keeps_them():
    made = built(100)
    size = made.tables_nbytes
    assert size == 2 * 4 * (100 + 2**16 + 1)
    made.reserve(1000)
    assert made.tables_nbytes == size
    assert loads(dumps(made)).tables_nbytes == 0
    made.add(codes(1, seed=3))
    assert made.tables_nbytes == size
    made.remove_ids([5])
    assert made.tables_nbytes == 0
    made.build_tables()
    made.add(codes(1, seed=4), [5])
    assert made.tables_nbytes == 0
    with pytest.raises(ValueError, match="auto or scan without tables; see build_tables"):
        made.search(codes(1), 1, method="tables")


@pytest.mark.parametrize("call, words", [
    (lambda i: i.search(codes(1), 1, method="fast"), "method must be one of auto, scan, tables"),
    (lambda i: i.range_search(codes(1), 1, method=""), "method must be one of auto, scan, tables"),
    (lambda i: i.search(codes(1), 1, method="tables", subset=[1]), "auto or scan with subset or"),
    (lambda i: i.range_search(codes(1), 1, method="tables", subset=[1]), "auto or scan with"),
])  # fmt: skip
def test_methods_that_cannot_be_are_refused(call, words):
    with pytest.raises(ValueError, match=words):
        call(built(50))


def test_auto_scans_where_tables_would_take_longer(searched, costs):
    made = built(3000)
    asked = codes(1, seed=1)
    made.search(asked, 1, subset=[1, 2])
    assert not searched
    made.range_search(asked, 1)
    assert searched == [1]
    costs["lookup"] = 1e9
    limit = made._store.tables.limit(1, 4)
    assert limit < 1, "not even one lookup is worth it"
    same(made, made, method="auto")


@pytest.mark.parametrize("queries, width", [(1, 8), (1, 4), (2, 8), (500, 8), (1, 3), (1, 17)])
def test_the_limit_is_a_scans_time_in_lookups(costs, queries, width, monkeypatch):
    monkeypatch.setattr(_tables.torch, "get_num_threads", lambda: 2)
    tables = built(3000)._store.tables
    lane = {8: 8, 4: 4, 3: 4, 17: 24}[width]
    scan = 10_000 + 3000 * lane * max(10.0, 0.5 * queries)
    wanted = _tables._WORTH_TRYING * scan / (-(-queries // 2)) / 10.0
    assert tables.limit(queries, width) == pytest.approx(wanted, rel=0.5 if queries % 2 else 1e-9)


def test_tables_are_for_the_cpu(monkeypatch):
    made = HammingIndex(BITS)
    monkeypatch.setattr(
        type(made), "device", property(lambda self: type("Device", (), {"type": "cuda"})())
    )
    with pytest.raises(ValueError, match="build_tables: the index must be on the CPU"):
        made.build_tables()


def test_costs_are_measured_once_and_kept_in_the_cache_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("SEMICON_FAST_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "_KNOWN", {})
    asked = []

    def measure():
        asked.append(1)
        return {"lookup": 2.5}

    assert constants.measured("costs", "avx2", measure) == {"lookup": 2.5}
    assert constants.measured("costs", "avx2", measure) == {"lookup": 2.5} and len(asked) == 1
    (file,) = tmp_path.glob("costs-*.json")
    assert json.loads(file.read_text()) == {"lookup": 2.5}
    constants._KNOWN.clear()
    assert constants.measured("costs", "avx2", measure) == {"lookup": 2.5} and len(asked) == 1
    assert constants.measured("costs", "scalar", measure) == {"lookup": 2.5} and len(asked) == 2
    for damage in ("{", "[1]", '{"lookup": "x"}'):
        constants._KNOWN.clear()
        file.write_text(damage)
        constants.measured("costs", "avx2", measure)
    assert len(asked) == 5 and json.loads(file.read_text()) == {"lookup": 2.5}


def test_what_is_measured_are_positive_numbers(monkeypatch):
    monkeypatch.undo()
    monkeypatch.setattr(_costs, "_CODES", 1 << 14)
    monkeypatch.setattr(_costs, "_FEW", 1 << 10)
    found = _costs._measure()
    assert set(found) == {"call", "read", "pair", "lookup"} and min(found.values()) > 0


def test_an_index_without_tables_measures_nothing(monkeypatch):
    def never():
        raise AssertionError("measured")

    monkeypatch.setattr(_costs, "_costs", never)
    made = HammingIndex(BITS)
    made.add(codes(100))
    assert made.search(codes(1), 3)[1][0, 0] == 0
