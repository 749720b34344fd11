"""atomic_write leaves the old content or the whole of the new one, whatever happens."""

import errno
import os
import stat
from pathlib import Path

import pytest

from semicon_fast.files import atomic_write, check_file, check_folder, utf8_path


def test_content_replaces_the_old_file(tmp_path):
    path = tmp_path / "deep" / "file.bin"
    for content in (b"old", b"new"):
        with atomic_write(path) as file:
            file.write(content)
    assert path.read_bytes() == b"new"
    assert [p.name for p in path.parent.iterdir()] == ["file.bin"]


def test_an_error_inside_the_block_keeps_the_old_file(tmp_path):
    path = tmp_path / "file.txt"
    path.write_text("old")
    with pytest.raises(RuntimeError, match="stop"), atomic_write(path, "w") as file:
        file.write("half of the n")
        raise RuntimeError("stop")
    assert path.read_text() == "old"
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_full_disk_is_one_sentence_and_keeps_the_old_file(tmp_path, monkeypatch, call):
    path = tmp_path / "file.txt"
    path.write_text("old")

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, call, full)
    with pytest.raises(OSError, match=r"could not write .*file\.txt: the disk is full") as caught:  # noqa: SIM117
        with atomic_write(path, "w") as file:
            file.write("new")
    assert caught.value.errno == errno.ENOSPC
    assert path.read_text() == "old"
    assert len(list(tmp_path.iterdir())) == 1


def test_permissions_are_those_of_any_new_file(tmp_path):
    plain = tmp_path / "plain"
    plain.write_bytes(b"")
    with atomic_write(tmp_path / "atomic") as file:
        file.write(b"x")
    assert stat.S_IMODE((tmp_path / "atomic").stat().st_mode) == stat.S_IMODE(plain.stat().st_mode)


def test_reading_modes_are_refused(tmp_path):
    with pytest.raises(ValueError, match='mode must be "wb" or "w"'), atomic_write(tmp_path, "rb"):
        pass


def test_what_can_be_written_is_found_out_without_writing(tmp_path):
    check_folder(tmp_path / "new" / "deeper")
    check_file(tmp_path / "new" / "file.png")
    (tmp_path / "there").write_bytes(b"")
    check_file(tmp_path / "there")
    assert [path.name for path in tmp_path.iterdir()] == ["there"]


@pytest.mark.parametrize(
    "name, reason",
    [
        ("file", "file is a file, not a folder"),
        ("file/below/it", "file is a file, not a folder"),
        ("loop", "Too many levels of symbolic links"),
        ("lost", "lost is a link that leads nowhere"),
        ("x" * 5000, "File name too long"),
    ],
)
def test_a_folder_that_could_not_be_written_is_refused(tmp_path, name, reason):
    (tmp_path / "file").write_bytes(b"")
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "lost").symlink_to("nowhere")
    with pytest.raises(OSError, match=f"could not write to .*{name[:20]}.*: .*{reason}"):
        check_folder(tmp_path / name)


def test_a_file_that_could_not_be_written_is_refused(tmp_path):
    with pytest.raises(OSError, match="it is a folder, not a file"):
        check_file(tmp_path)
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(OSError, match="could not write .*below.png: .*file is a file"):
        check_file(tmp_path / "file" / "below.png")


@pytest.mark.skipif(os.name == "nt" or os.getuid() == 0, reason="root writes everywhere")
def test_a_read_only_folder_is_refused(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(OSError, match="is read-only for this user"):
        check_folder(tmp_path / "new")


def test_the_longest_name_can_be_written(tmp_path):
    with atomic_write(tmp_path / ("n" * 255), "w") as file:
        file.write("x")
    assert [len(path.name) for path in tmp_path.iterdir()] == [255]


def test_text_keeps_its_line_ends_and_the_bytes_of_names(tmp_path):
    with atomic_write(tmp_path / "names", "w") as file:
        file.write(os.fsdecode(b"K\xf6nig\r\n") + "\u732b\n")
    assert (tmp_path / "names").read_bytes() == b"K\xf6nig\r\n\xe7\x8c\xab\n"


@pytest.mark.parametrize("name", [b"K\xf6nig", b"plain"])
def test_a_path_in_utf8_leads_to_the_same_file(tmp_path, name):
    path = tmp_path / os.fsdecode(name)
    path.write_text("content")
    with utf8_path(path) as shown:
        assert shown.encode() and Path(shown).read_text() == "content"
    if name == b"plain":
        assert shown == str(path)
