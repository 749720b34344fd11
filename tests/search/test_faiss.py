"""Indexes from faiss and for it."""

import sys

import numpy as np
import pytest

from semicon_fast.search import HammingIndex, convert_codes, pack_codes


@pytest.fixture(scope="module")
def faiss():
    return pytest.importorskip("faiss")


def codes(rows, bits, seed=0):
    return pack_codes(np.random.default_rng(seed).standard_normal((rows, bits)))


def built(bits, rows=300, ids=None):
    index = HammingIndex(bits)
    index.add(codes(rows, bits), ids)
    return index


def gaps(rows):
    return np.random.default_rng(1).permutation(10 * rows)[:rows]


def sorted_pairs(distances, ids):
    """Equal distances may come in any order from faiss."""
    return [sorted(zip(d, i, strict=True)) for d, i in zip(distances, ids, strict=True)]


@pytest.mark.parametrize("bits", [1, 12, 48, 64, 384, 4096])
@pytest.mark.parametrize("named", [False, True])
def test_searching_either_gives_the_same_distances(faiss, bits, named):
    index = built(bits, ids=gaps(300) if named else None)
    theirs = index.to_faiss()
    assert theirs.d == -(-bits // 8) * 8 and theirs.ntotal == 300
    asked = codes(7, bits, seed=2)
    k = 300
    mine, yours = index.search(asked, k), theirs.search(asked, k)
    assert np.array_equal(mine[0], yours[0])
    assert sorted_pairs(*mine) == sorted_pairs(*yours)


@pytest.mark.parametrize("bits, given", [(64, None), (12, 12), (12, None)])
@pytest.mark.parametrize("named", [False, True])
def test_round_trip_is_exact(faiss, bits, given, named):
    index = built(bits, ids=gaps(300) if named else None)
    back = HammingIndex.from_faiss(index.to_faiss(), given)
    assert back.bits == (given or 8 * -(-bits // 8))
    assert np.array_equal(back.ids(), index.ids())
    assert np.array_equal(back.reconstruct(back.ids()), index.reconstruct(index.ids()))


def test_an_empty_index_goes_both_ways(faiss):
    empty = HammingIndex(20).to_faiss()
    assert isinstance(empty, faiss.IndexBinaryFlat) and empty.ntotal == 0
    assert len(HammingIndex.from_faiss(empty, 20)) == 0


@pytest.mark.parametrize("kind", ["IndexBinaryIDMap", "IndexBinaryIDMap2"])
def test_named_indexes_keep_their_ids_also_from_a_file(faiss, tmp_path, kind):
    theirs = getattr(faiss, kind)(faiss.IndexBinaryFlat(32))
    ids = gaps(50)
    theirs.add_with_ids(codes(50, 32), ids)
    faiss.write_index_binary(theirs, str(tmp_path / "theirs"))
    for given in (theirs, faiss.read_index_binary(str(tmp_path / "theirs"))):
        index = HammingIndex.from_faiss(given)
        assert np.array_equal(index.ids(), np.sort(ids))
        assert np.array_equal(index.reconstruct(ids), codes(50, 32))


def test_what_came_from_faiss_is_a_copy(faiss):
    theirs = faiss.IndexBinaryFlat(32)
    theirs.add(codes(50, 32))
    index = HammingIndex.from_faiss(theirs)
    theirs.reset()
    theirs.add(codes(400, 32, seed=3))
    del theirs
    assert np.array_equal(index.reconstruct(np.arange(50)), codes(50, 32))


def test_big_order_in_faiss_searches_alike_and_is_put_right_on_the_way(faiss):
    x = np.random.default_rng(4).standard_normal((40, 64))
    big = np.packbits(x >= 0, axis=1)
    theirs = faiss.IndexBinaryFlat(64)
    theirs.add(big)
    raw = HammingIndex.from_faiss(theirs)
    assert np.array_equal(raw.search(big[:3], 40)[0], theirs.search(big[:3], 40)[0])
    read = convert_codes(raw.reconstruct(np.arange(40)), 64, source="big")
    assert np.array_equal(read, pack_codes(x))


def test_other_kinds_are_refused_in_a_sentence(faiss):
    with pytest.raises(TypeError, match="must be an IndexBinaryFlat, .* got IndexBinaryIVF"):
        HammingIndex.from_faiss(faiss.index_binary_factory(64, "BIVF4"))
    with pytest.raises(TypeError, match="got IndexBinaryHNSW"):
        HammingIndex.from_faiss(faiss.IndexBinaryIDMap(faiss.IndexBinaryHNSW(64, 8)))
    with pytest.raises(TypeError, match="got IndexFlatL2"):
        HammingIndex.from_faiss(faiss.IndexFlatL2(64))
    with pytest.raises(TypeError, match="got ndarray"):
        HammingIndex.from_faiss(codes(3, 64))


def test_what_does_not_fit_is_refused_in_a_sentence(faiss):
    theirs = faiss.IndexBinaryFlat(16)
    theirs.add(codes(30, 16))
    with pytest.raises(ValueError, match=r"codes must be \(N, 3\) for 20 bits, got \(30, 2\)"):
        HammingIndex.from_faiss(theirs, 20)
    with pytest.raises(ValueError, match="0 in the 4 unused bits"):
        HammingIndex.from_faiss(theirs, 12)
    for ids, words in (([3, 3], "ids must be unique"), ([-1, 0], "ids must be from 0")):
        named = faiss.IndexBinaryIDMap(faiss.IndexBinaryFlat(16))
        named.add_with_ids(codes(2, 16), np.array(ids))
        with pytest.raises(ValueError, match=words):
            HammingIndex.from_faiss(named)


def test_without_faiss_a_sentence_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "faiss", None)
    with pytest.raises(ImportError, match="to_faiss needs faiss; install it .pip install faiss"):
        built(8).to_faiss()
    with pytest.raises(ImportError, match="from_faiss needs faiss"):
        HammingIndex.from_faiss(None)
