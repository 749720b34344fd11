"""Tar files: labels, links, repeated names, and archives that are cut short."""

import io
import random
import tarfile

import numpy as np
import pytest
from PIL import Image

from semicon_fast.data import passed_over
from semicon_fast.data.catalog import list_images
from semicon_fast.data.passed_over import PassedOver


def png(number):
    file = io.BytesIO()
    Image.fromarray(np.full((4, 5, 3), number, np.uint8)).save(file, "PNG")
    return file.getvalue()


def write(path, members, kind=tarfile.PAX_FORMAT):
    """members: (name, bytes), or (name, link type, target), or (name,) for a folder."""
    with tarfile.open(path, "w", format=kind) as tar:
        for name, *rest in members:
            about = tarfile.TarInfo(name)
            if not rest:
                about.type = tarfile.DIRTYPE
            elif len(rest) == 2:
                about.type, about.linkname = rest
            else:
                about.size = len(rest[0])
            tar.addfile(about, io.BytesIO(rest[0]) if len(rest) == 1 else None)
    return path


def listed(*paths):
    """([(name below the first path, label, value)], counts, notes)."""
    passed = PassedOver()
    found = [
        (entry.name.partition(".tar/")[2], entry.label, int(entry.image()[0, 0, 0]))
        for entry in list_images(paths, passed)
    ]
    return found, passed.to_dict(), dict(passed.notes)


SYMBOLIC, HARD = tarfile.SYMTYPE, tarfile.LNKTYPE


def test_hidden_members_are_passed_over_and_other_files_counted(tmp_path):
    shard = write(tmp_path / "mac.tar", [
        ("photos",), ("photos/cat",), ("./photos/cat/0.png", png(1)), ("./._photos", b"x"),
        ("photos/cat/._0.png", b"x"), ("photos/.git/1.png", png(2)),
        ("__MACOSX/photos/cat/0.png", b"x"), ("photos/dog/2.JPE", png(3)),
        ("photos/notes.txt", b"x"),
    ])  # fmt: skip
    assert listed(shard) == (
        [("photos/cat/0.png", "cat", 1), ("photos/dog/2.JPE", "dog", 3)],
        {passed_over.HIDDEN: 4, passed_over.OTHER: 1},
        {},
    )


def test_shards_share_one_root(tmp_path):
    one = write(tmp_path / "1.tar", [("set/cat/monday/0.png", png(1)), ("set/cat/1.png", png(2))])
    two = write(tmp_path / "2.tar", [("set/dog/2.png", png(3)), ("set/3.png", png(4))])
    assert [label for _, label, _ in listed(one)[0]] == ["monday", "cat"]
    assert [label for _, label, _ in listed(one, two)[0]] == ["cat", "cat", "dog", "set"]
    assert [label for _, label, _ in listed(tmp_path)[0]] == ["cat", "cat", "dog", "set"]


def test_a_split_in_an_archive_is_one_as_in_a_folder(tmp_path):
    names = ("s/train/cat/day/0.png", "s/train/dog/1.png", "s/test/cat/2.png", "s/other/x/3.png")
    shard = write(tmp_path / "s.tar", [(name, png(i)) for i, name in enumerate(names)])
    assert [label for _, label, _ in listed(shard)[0]] == ["cat", "dog", "cat", "other"]
    for i, name in enumerate(names):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(png(i))
    from_folder = {value: label for _, label, value in listed(tmp_path / "s")[0]}
    assert from_folder == {value: label for _, label, value in listed(shard)[0]}


def test_links_are_followed_inside_the_archive(tmp_path):
    shard = write(tmp_path / "links.tar", [
        ("cat/0.png", png(1)), (".blobs/abc", png(2)), ("cat/day/5.png", png(5)),
        ("dog/hard.png", HARD, "cat/0.png"),
        ("dog/blob.png", HARD, ".blobs/abc"),
        ("dog/again.png", SYMBOLIC, "../cat/0.png"),
        ("dog/to-hard.png", SYMBOLIC, "hard.png"),
        ("dog/annexed.png", SYMBOLIC, "../.blobs/abc"),
        ("dog/chain.png", SYMBOLIC, "annexed.png"),
        ("dog/latest", SYMBOLIC, "../cat"),
        ("dog/out.png", SYMBOLIC, "../../etc/x.png"),
        ("dog/absolute.png", SYMBOLIC, "/x.png"),
        ("dog/gone.png", SYMBOLIC, "nothing.png"),
        ("dog/loop.png", SYMBOLIC, "loop.png"),
        ("dog/gone-too.png", HARD, "nothing.png"),
    ])  # fmt: skip
    found, counts, _ = listed(shard)
    assert found == [
        ("cat/0.png", "cat", 1), ("cat/day/5.png", "cat", 5), ("dog/hard.png", "dog", 1),
        ("dog/blob.png", "dog", 2), ("dog/annexed.png", "dog", 2), ("dog/chain.png", "dog", 2),
    ]  # fmt: skip
    assert counts == {
        passed_over.HIDDEN: 1, passed_over.LINKED_IMAGES: 2, passed_over.DANGLING: 3,
        passed_over.OUTSIDE: 2, passed_over.ARCHIVED_FOLDERS: 1,
    }  # fmt: skip


def test_a_link_that_is_passed_over_does_not_move_the_root(tmp_path):
    shard = write(tmp_path / "x.tar", [
        ("set/cat/0.png", png(1)), ("set/dog/1.png", png(2)),
        ("latest.png", SYMBOLIC, "set/dog/1.png"),
    ])  # fmt: skip
    assert [label for _, label, _ in listed(shard)[0]] == ["cat", "dog"]


def test_of_members_of_one_name_the_last_counts(tmp_path):
    shard = write(tmp_path / "x.tar", [
        ("c/0.png", png(1)), ("c/1.png", png(2)), ("./c/0.png", png(3)), ("c/2.png", png(4)),
        ("c/2.png", HARD, "c/2.png"),
    ])  # fmt: skip
    found, counts, _ = listed(shard)
    assert found == [("c/1.png", "c", 2), ("c/0.png", "c", 3), ("c/2.png", "c", 4)]
    assert counts == {passed_over.REPLACED: 2}


def test_names_that_are_not_utf_8_are_names(tmp_path):
    name = "K\udcf6nig"
    shard = write(tmp_path / "x.tar", [(f"{name}/{name}.png", png(1))], tarfile.GNU_FORMAT)
    assert listed(shard)[0] == [(f"{name}/{name}.png", name, 1)]


@pytest.mark.parametrize("kind", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT, tarfile.USTAR_FORMAT])
def test_an_archive_cut_short_anywhere_is_refused(tmp_path, kind):
    long = "" if kind == tarfile.USTAR_FORMAT else "n" * 120
    members = [("c/0.png", png(1)), (f"c/{long}é.png", png(2)), ("c/2.png", png(3))]
    whole = write(tmp_path / "whole.tar", members, kind)
    data, path = whole.read_bytes(), tmp_path / "cut.tar"
    with tarfile.open(whole) as tar:
        starts = [member.offset for member in tar.getmembers()]
    end = starts[-1] + 2 * 512  # each image takes one block
    assert listed(whole)[1:] == ({}, {}) and len(png(3)) < 512
    places = {0, 1, end - 1, *range(0, end, 256), *random.Random(0).sample(range(end), 20)}
    for length in sorted(places - {*starts[1:]}):
        path.write_bytes(data[:length])
        with pytest.raises(ValueError, match="cut.tar is not a complete tar file"):
            listed(path)
    for length, count in ((starts[1], 1), (starts[2], 2), (end, 3), (end + 100, 3)):
        path.write_bytes(data[:length])
        found, _, notes = listed(path)
        assert len(found) == count and notes == {passed_over.ENDLESS: 1}


def test_an_archive_cut_short_says_where(tmp_path):
    path = write(tmp_path / "x.tar", [("a.png", png(1) * 20), ("b.png", png(2))])
    data = path.read_bytes()
    start = data.index(b"b.png")
    for length, sentence in (
        (1000, "cut short in the data of a.png"),
        (start + 100, f"cut short in a header, at byte {start:,}"),
        (start + 520, "cut short in the data of b.png"),
    ):
        path.write_bytes(data[:length])
        with pytest.raises(ValueError, match=sentence):
            listed(path)
    path.write_bytes(data[:start] + b"x" * 512 + data[start + 512 :])
    with pytest.raises(ValueError, match=f"damaged in a header, at byte {start:,}"):
        listed(path)
