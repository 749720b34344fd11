"""A thousand damaged index files: a sentence each, and none half loaded."""

import random
import struct
import zlib

import numpy as np
import pytest

from semicon_fast.search import HammingIndex, pack_codes

BITS = 12


def codes(rows, seed=0):
    return pack_codes(np.random.default_rng(seed).standard_normal((rows, BITS)))


@pytest.fixture(scope="module", params=["numbered", "named", "empty"])
def whole(request, tmp_path_factory):
    """The bytes of an index file."""
    rows = 0 if request.param == "empty" else 90
    index = HammingIndex(BITS)
    index.add(codes(rows), np.arange(rows) * 7 if request.param == "named" else None)
    path = tmp_path_factory.mktemp("index") / "index"
    index.save(path)
    return path.read_bytes()


def sealed(header):
    return header[:124] + struct.pack("<I", zlib.crc32(header[:124]))


def put(raw, form, at, value):
    """Another value in the header, under a right checksum."""
    header = bytearray(raw[:128])
    struct.pack_into(form, header, at, value)
    return sealed(bytes(header)) + raw[128:]


def flipped(raw, at, bit):
    return raw[:at] + bytes([raw[at] ^ 1 << bit]) + raw[at + 1 :]


def refused(path, raw, *, verify=False):
    path.write_bytes(raw)
    with pytest.raises(ValueError) as error:
        HammingIndex.load(path, verify=verify)
    sentence = str(error.value)
    assert sentence.startswith(str(path)) and len(sentence.split()) > 4
    return sentence


def test_files_cut_anywhere_are_refused(tmp_path, whole):
    draw = random.Random(1)
    cuts = {*range(0, 140), *range(len(whole) - 20, len(whole))}
    cuts |= {draw.randrange(len(whole)) for _ in range(100)}
    for size in sorted(cut for cut in cuts if cut < len(whole)):
        sentence = refused(tmp_path / "index", whole[:size])
        assert "is cut short" in sentence or (size < 8 and "is no Hamming index" in sentence)


def test_every_flipped_byte_of_the_header_is_found(tmp_path, whole):
    draw = random.Random(2)
    for at in range(128):
        sentence = refused(tmp_path / "index", flipped(whole, at, draw.randrange(8)))
        wanted = "no Hamming index" if at < 8 else "newer one" if at < 12 else "is damaged"
        assert wanted in sentence or at in range(8, 12)


def test_every_flipped_byte_of_the_content_is_found_when_asked_for(tmp_path, whole):
    draw = random.Random(3)
    for at in range(128, len(whole)):
        damaged = flipped(whole, at, draw.randrange(8))
        assert "content" in refused(tmp_path / "index", damaged, verify=True)


def test_content_that_was_not_verified_gives_answers_and_no_crash(tmp_path, whole):
    """Wrong answers at most: every distance and id is still one that the file's bytes can mean."""
    draw = random.Random(4)
    for _ in range(100):
        raw = bytearray(whole)
        for at in range(128, len(whole)):
            raw[at] = draw.randrange(256)
        (tmp_path / "index").write_bytes(raw)
        index = HammingIndex.load(tmp_path / "index")
        near, ids = index.search(codes(3), 5)
        assert near.shape == ids.shape == (3, 5) and len(index.rank(codes(1))[0][0]) == len(index)
        for call in (
            lambda i: i.add(codes(2)),
            lambda i: i.remove_ids([0]),
            lambda i: i.reconstruct([1]),
        ):
            try:
                call(index)
            except ValueError as error:
                assert "ids" in str(error)


@pytest.mark.parametrize(
    "form, at, values",
    [
        ("<I", 8, [2, 3, 2**31, 2**32 - 1]),  # version
        ("<I", 16, [0, 4097, 2**31, 2**32 - 1]),  # bits
        ("<B", 20, [0, 2, 255]),  # bit order
        ("<B", 21, [0, 2, 255]),  # sign rule
        ("<B", 22, [2, 255]),  # has ids
        ("<Q", 24, [5, 200, 2**40, 2**61, 2**63, 2**64 - 1]),  # count
        ("<Q", 40, [0, 127, 129, 2**63]),  # offset of codes
        ("<Q", 48, [0, 64, 2**40, 2**64 - 8]),  # offset of ids
        ("<Q", 56, [0, 127, 2**40, 2**64 - 1]),  # size
    ],
)
def test_wrong_numbers_under_a_right_checksum_are_refused(tmp_path, whole, form, at, values):
    for value in values:
        for tail in (b"", b"\0" * 4096):
            refused(tmp_path / "index", put(whole, form, at, value) + tail)


def test_a_next_id_below_the_number_of_codes_is_refused(tmp_path, whole):
    count = struct.unpack_from("<Q", whole, 24)[0]
    for value in range(0, count, 10):
        assert "does not understand" in refused(tmp_path / "index", put(whole, "<Q", 32, value))


def test_foreign_files_are_refused(tmp_path, whole):
    draw = random.Random(5)
    for beginning in (
        b"",
        b"PK\3\4",
        b"\x93NUMPY\1\0",
        b"\x80\4\x95",
        b"IBxF",
        b"\x7fELF",
        b"\0" * 8,
    ):
        for size in (0, 5, 100, 128, 500, 5000):
            raw = beginning + bytes(draw.randrange(256) for _ in range(size))
            assert "is no Hamming index" in refused(tmp_path / "index", raw)
    np.save(tmp_path / "codes.npy", codes(90))
    with pytest.raises(ValueError, match="is no Hamming index"):
        HammingIndex.load(tmp_path / "codes.npy")
    with pytest.raises(IsADirectoryError):
        HammingIndex.load(tmp_path)


def test_two_files_in_one_and_appended_bytes_are_refused(tmp_path, whole):
    for tail in (b"\0", b"\n", whole, whole[:128]):
        assert "is longer than it should be" in refused(tmp_path / "index", whole + tail)


def test_ids_out_of_order_under_a_right_checksum_are_found_when_asked_for(tmp_path):
    index = HammingIndex(BITS)
    index.add(codes(3), [4, 6, 9])
    index.save(tmp_path / "index")
    raw = (tmp_path / "index").read_bytes()
    for ids in ([6, 4, 9], [4, 4, 9], [-1, 6, 9], [4, 6, 10]):
        content = raw[128:192] + struct.pack("<3q", *ids)
        other = put(raw[:128], "<I", 64, zlib.crc32(content)) + content
        assert "ids that are not ascending" in refused(tmp_path / "index", other, verify=True)
    content = b"\xff" * 6 + raw[134:]
    other = put(raw[:128], "<I", 64, zlib.crc32(content)) + content
    assert "0 in the 4 unused bits" in refused(tmp_path / "index", other, verify=True)
