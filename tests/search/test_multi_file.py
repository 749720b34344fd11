"""The file of a MultiIndex: what comes back, and what is refused."""

import random
import struct
import zlib

import numpy as np
import pytest

from semicon_fast.search import HammingIndex, MultiIndex, pack_codes

BITS = 20


def codes(rows, seed=0):
    return pack_codes(np.random.default_rng(seed).standard_normal((rows, BITS)))


def built(rows=90, ids=None, tables=3):
    index = MultiIndex(BITS, tables)
    index.add(codes(rows), ids)
    return index


def results(index):
    asked = codes(4, seed=1)
    exact = (*index.search(asked, 7), *index.range_search(asked, 5))
    return (*exact, *index.search(asked, 3, candidates=20, exact=False))


def same(a, b):
    return all(np.array_equal(x, y) for x, y in zip(results(a), results(b), strict=True))


@pytest.mark.parametrize("ids", [None, np.arange(90)[::-1] * 5], ids=["numbered", "named"])
@pytest.mark.parametrize("verify", [False, True])
@pytest.mark.parametrize("tables", [None, 1, 3, 20])
def test_a_saved_index_comes_back_with_its_tables(tmp_path, ids, verify, tables):
    index = built(ids=ids, tables=tables)
    index.save(tmp_path / "index")
    back = MultiIndex.load(tmp_path / "index", verify=verify)
    assert (back.bits, len(back)) == (BITS, 90) and back._sizes == index._sizes
    assert back._store.tables.count == 90 and back.nbytes == index.nbytes
    assert back.bits_of_tables == index.bits_of_tables
    assert back.ids().tolist() == index.ids().tolist() and same(back, index)


def test_an_empty_index_comes_back(tmp_path):
    MultiIndex(BITS).save(tmp_path / "index")
    back = MultiIndex.load(tmp_path / "index", verify=True)
    assert len(back) == 0 and back.search(codes(2), 1)[1].tolist() == [[-1], [-1]]


def test_changes_after_loading_never_reach_the_file(tmp_path):
    built().save(tmp_path / "index")
    before = (tmp_path / "index").read_bytes()
    back = MultiIndex.load(tmp_path / "index")
    back.add(codes(5, seed=2))
    assert back._store.tables.count == 90 and same(back, back)
    back.remove_ids([0, 2])
    assert len(back) == 93 and same(back, back)
    assert (tmp_path / "index").read_bytes() == before
    back.save(tmp_path / "index")
    assert same(MultiIndex.load(tmp_path / "index", verify=True), back)


def test_numbering_goes_on_after_loading(tmp_path):
    index = built()
    index.remove_ids([89])
    index.save(tmp_path / "index")
    back = MultiIndex.load(tmp_path / "index")
    back.add(codes(1))
    assert back.ids()[-1] == 90


def test_a_file_of_the_other_kind_is_refused(tmp_path):
    index = HammingIndex(BITS)
    index.add(codes(9))
    index.save(tmp_path / "plain")
    built().save(tmp_path / "multi")
    with pytest.raises(ValueError) as error:
        MultiIndex.load(tmp_path / "plain")
    assert "plain is a Hamming index, not a multi-index: open it with HammingIndex.load" in str(
        error.value
    )
    with pytest.raises(ValueError) as error:
        HammingIndex.load(tmp_path / "multi")
    assert "multi is a multi-index, not a Hamming index: open it with MultiIndex.load" in str(
        error.value
    )
    np.save(tmp_path / "codes.npy", codes(90))
    with pytest.raises(ValueError, match="is no multi-index: it does not begin with 'SFMULTIX'"):
        MultiIndex.load(tmp_path / "codes.npy")
    for wrong in (None, 3, True, b"x"):
        with pytest.raises(TypeError, match="path must be a string or a path"):
            MultiIndex.load(wrong)


@pytest.fixture(scope="module", params=["numbered", "named", "empty"])
def whole(request, tmp_path_factory):
    """The bytes of a file."""
    rows = 0 if request.param == "empty" else 60
    index = built(rows, np.arange(rows) * 7 if request.param == "named" else None, tables=4)
    path = tmp_path_factory.mktemp("index") / "index"
    index.save(path)
    return path.read_bytes()


def put(raw, form, at, value):
    """Another value in the header, under a right checksum."""
    header = bytearray(raw[:124])
    struct.pack_into(form, header, at, value)
    return bytes(header) + struct.pack("<I", zlib.crc32(header)) + raw[128:]


def refused(path, raw, *, verify=False):
    path.write_bytes(raw)
    with pytest.raises(ValueError) as error:
        MultiIndex.load(path, verify=verify)
    sentence = str(error.value)
    assert sentence.startswith(str(path)) and len(sentence.split()) > 4
    return sentence


def test_cut_and_longer_files_are_refused(tmp_path, whole):
    draw = random.Random(1)
    for size in [*range(0, 140), *(draw.randrange(len(whole)) for _ in range(60))]:
        sentence = refused(tmp_path / "index", whole[:size])
        assert "is cut short" in sentence or (size < 8 and "is no multi-index" in sentence)
    assert "longer than it should be" in refused(tmp_path / "index", whole + b"\0")


def test_every_flipped_byte_of_the_header_is_found(tmp_path, whole):
    draw = random.Random(2)
    for at in range(128):
        flipped = whole[:at] + bytes([whole[at] ^ 1 << draw.randrange(8)]) + whole[at + 1 :]
        refused(tmp_path / "index", flipped)


@pytest.mark.parametrize("form, at, values", [
    ("<I", 8, [2, 2**31]),  # version
    ("<I", 16, [0, 4097, 2**32 - 1]),  # bits
    ("<B", 20, [2, 255]),  # has ids
    ("<B", 21, [0, 2, 16]),  # bytes of an entry
    ("<Q", 24, [5, 2000, 2**40, 2**61, 2**63, 2**64 - 1]),  # count
    ("<I", 40, [1, 3, 5, 21, 2**31]),  # tables
    ("<I", 44, [21, 2**31]),  # tables that were asked for
    ("<I", 48, [21, 2**31]),
    ("<Q", 56, [0, 127, 2**40, 2**64 - 1]),  # size
])  # fmt: skip
def test_wrong_numbers_under_a_right_checksum_are_refused(tmp_path, whole, form, at, values):
    for value in values:
        for tail in (b"", b"\0" * 4096):
            refused(tmp_path / "index", put(whole, form, at, value) + tail)


def test_damaged_content_is_found_when_asked_for_and_else_crashes_nothing(tmp_path, whole):
    """Distances and ids are still such as the file's bytes can mean."""
    draw = random.Random(4)
    for _ in range(60):
        raw = bytearray(whole)
        for _ in range(1 + len(whole) // 50):
            raw[draw.randrange(128, len(whole))] = draw.randrange(256)
        if bytes(raw) != whole:
            refused(tmp_path / "index", bytes(raw), verify=True)
        (tmp_path / "index").write_bytes(raw)
        try:
            index = MultiIndex.load(tmp_path / "index")
        except ValueError as error:
            assert "its tables do not fit its codes" in str(error)
            continue
        found = results(index)
        assert found[0].shape == found[1].shape == (4, 7)


def test_a_failed_save_leaves_the_old_file(tmp_path, monkeypatch):
    built().save(tmp_path / "index")

    def full(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="disk is full"):
        built(rows=5).save(tmp_path / "index")
    assert len(MultiIndex.load(tmp_path / "index", verify=True)) == 90
    assert [p.name for p in tmp_path.iterdir()] == ["index"]
