"""The index file: what comes back, and what is refused."""

import os
import resource
import struct
import time
import zlib

import numpy as np
import pytest

from semicon_fast.search import HammingIndex, _file, pack_codes


def codes(rows, bits=11, seed=0):
    return pack_codes(np.random.default_rng(seed).standard_normal((rows, bits)))


def built(ids=None, rows=30):
    index = HammingIndex(11)
    index.add(codes(rows), ids)
    return index


def same(a, b):
    asked = codes(4, seed=1)
    return all(np.array_equal(x, y) for x, y in zip(a.rank(asked), b.rank(asked), strict=True))


@pytest.mark.parametrize("ids", [None, np.arange(30)[::-1] * 5], ids=["numbered", "named"])
@pytest.mark.parametrize("verify", [False, True])
def test_saved_index_comes_back(tmp_path, ids, verify):
    index = built(ids)
    index.save(tmp_path / "index")
    back = HammingIndex.load(tmp_path / "index", verify=verify)
    assert (back.bits, len(back)) == (11, 30) and same(back, index)
    assert back.ids().tolist() == index.ids().tolist()


def test_empty_index_comes_back(tmp_path):
    HammingIndex(11).save(tmp_path / "index")
    back = HammingIndex.load(tmp_path / "index", verify=True)
    assert len(back) == 0 and back.search(codes(2), 1)[1].tolist() == [[-1], [-1]]


def test_numbering_goes_on_after_loading(tmp_path):
    index = built()
    index.remove_ids([29])
    index.save(tmp_path / "index")
    back = HammingIndex.load(tmp_path / "index")
    back.add(codes(1))
    assert back.ids()[-1] == 30


@pytest.mark.parametrize("ids", [None, np.arange(30) * 2], ids=["numbered", "named"])
def test_changes_after_loading_never_reach_the_file(tmp_path, ids):
    built(ids).save(tmp_path / "index")
    before = (tmp_path / "index").read_bytes()
    back = HammingIndex.load(tmp_path / "index")
    back.add(codes(5, seed=2))
    back.remove_ids([0, 2])
    assert len(back) == 33 and (tmp_path / "index").read_bytes() == before
    back.save(tmp_path / "index")
    assert same(HammingIndex.load(tmp_path / "index"), back)


def test_file_is_laid_out_as_documented(tmp_path):
    built(np.arange(30) + 100).save(tmp_path / "index")
    raw = (tmp_path / "index").read_bytes()
    magic, version, size, bits, order, sign, has_ids = struct.unpack_from("<8sIIIBBB", raw)
    assert (magic, version, size, bits) == (b"SFHAMIDX", 1, 128, 11)
    assert (order, sign, has_ids) == (1, 1, 1)
    count, next_id, codes_at, ids_at, total = struct.unpack_from("<5Q", raw, 24)
    assert (count, next_id, codes_at, ids_at, total) == (30, 130, 128, 192, len(raw))
    assert np.array_equal(np.frombuffer(raw, np.uint8, 60, 128).reshape(30, 2), codes(30))
    assert np.frombuffer(raw, "<i8", 30, 192).tolist() == list(range(100, 130))
    assert struct.unpack_from("<I", raw, 64)[0] == zlib.crc32(raw[128:])
    assert struct.unpack_from("<I", raw, 124)[0] == zlib.crc32(raw[:124])


def test_ten_gigabytes_open_at_once(tmp_path):
    """A file with holes: nothing of its codes is read, and one code alone when it is asked for."""
    count = 10 * 2**30 // 8
    fields = (b"SFHAMIDX", 1, 128, 64, 1, 1, 0, count, count, 128, 128 + 8 * count, 128 + 8 * count)
    header = struct.pack("<8sIIIBBBxQQQQQI56x", *fields, 0)
    with open(tmp_path / "index", "wb") as file:
        file.write(header + struct.pack("<I", zlib.crc32(header)))
        file.truncate(fields[-1])
    before, began = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.perf_counter()
    index = HammingIndex.load(tmp_path / "index")
    assert len(index) == count and not index.reconstruct([count - 1]).any()
    assert time.perf_counter() - began < 1
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 2**17, "128 MB read"


def test_loading_maps_the_file_that_it_checked(tmp_path, monkeypatch):
    """Another index takes the path's place between the check and the mapping."""
    built(np.arange(30) * 2).save(tmp_path / "index")
    check = _file._header

    def replaced(file, path):
        fields = check(file, path)
        built(rows=5).save(path)
        return fields

    monkeypatch.setattr(_file, "_header", replaced)
    back = HammingIndex.load(tmp_path / "index")
    assert np.array_equal(back.reconstruct(np.arange(30) * 2), codes(30))


def newer(raw):
    return raw[:8] + struct.pack("<I", 2) + raw[12:]


def flipped(raw, at):
    return raw[:at] + bytes([raw[at] ^ 1]) + raw[at + 1 :]


def resealed(raw, at, value):
    """Another value in the header, under a right checksum."""
    header = raw[:at] + bytes([value]) + raw[at + 1 : 124]
    return header + struct.pack("<I", zlib.crc32(header)) + raw[128:]


@pytest.mark.parametrize(
    "change, words",
    [
        (lambda raw: b"", "is no Hamming index"),
        (lambda raw: b"PK" + raw[2:], "is no Hamming index: it does not begin with 'SFHAMIDX'"),
        (lambda raw: raw[:40], "is cut short: 40 bytes, its header alone has 128"),
        (lambda raw: raw[:-1], "is cut short"),
        (lambda raw: raw + b"x", "is longer than it should be"),
        (newer, "has format version 2; this release reads up to 1"),
        (lambda raw: flipped(raw, 24), "is damaged: its header"),
        (lambda raw: resealed(raw, 20, 0), "has a header that this release does not understand"),
        (lambda raw: resealed(raw, 16, 0), "has a header that this release does not understand"),
        (lambda raw: resealed(raw, 24, 99), "has a header that this release does not understand"),
    ],
)
def test_other_files_are_refused_in_a_sentence(tmp_path, change, words):
    built(np.arange(30)).save(tmp_path / "index")
    path = tmp_path / "other"
    path.write_bytes(change((tmp_path / "index").read_bytes()))
    with pytest.raises(ValueError, match=words) as error:
        HammingIndex.load(path)
    assert str(path) in str(error.value)


def test_damaged_content_is_found_when_asked_for(tmp_path):
    built().save(tmp_path / "index")
    (tmp_path / "index").write_bytes(flipped((tmp_path / "index").read_bytes(), 130))
    HammingIndex.load(tmp_path / "index")
    with pytest.raises(ValueError, match="is damaged: its content"):
        HammingIndex.load(tmp_path / "index", verify=True)


def test_failed_save_leaves_the_old_index(tmp_path, monkeypatch):
    built().save(tmp_path / "index")

    def full(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="disk is full"):
        built(rows=5).save(tmp_path / "index")
    assert len(HammingIndex.load(tmp_path / "index", verify=True)) == 30
    assert [p.name for p in tmp_path.iterdir()] == ["index"]


def test_absent_file_is_an_oserror(tmp_path):
    with pytest.raises(FileNotFoundError):
        HammingIndex.load(tmp_path / "nothing")
