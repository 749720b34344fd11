"""Commands on files that are damaged or may not be read, and numbers that nobody has room for."""

import os
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from semicon_fast.cli import app


@pytest.fixture
def copy(junk, tmp_path, monkeypatch):
    """A copy of the folder `junk`, and the current one."""
    shutil.copytree(junk, tmp_path / "copy", symlinks=True)
    monkeypatch.chdir(tmp_path / "copy")
    return tmp_path / "copy"


DAMAGED = {
    "codes.npy": [["index", "gallery"], ["search", "gallery", "photo.png"], ["serve", "gallery"]],
    "images.csv": [["search", "gallery", "photo.png"], ["explain", "gallery", "0", "1"]],
    "gallery.json": [["index", "gallery"], ["evaluate", "--queries", "gallery", "--database",
                     "gallery"], ["explain", "gallery", "0", "1"]],
    "index.hamming": [["search", "gallery", "photo.png"], ["serve", "gallery", "--no-model"]],
}  # fmt: skip
CONTENTS = [b"", bytes(range(128, 256)) * 9, b"[1, 2]", b'{"format": "x"}', b"{}", b"\x93NUMPY"]


@pytest.mark.parametrize("content", CONTENTS, ids=lambda content: repr(content[:8]))
@pytest.mark.parametrize("name", DAMAGED)
def test_a_damaged_file_of_a_gallery_is_named(name, content, copy, refused):
    Path("gallery", name).write_bytes(content)
    for call in DAMAGED[name]:
        assert "gallery" in refused(call, copy)


@pytest.mark.parametrize("content", CONTENTS, ids=lambda content: repr(content[:8]))
@pytest.mark.parametrize(
    "call",
    [
        ["evaluate", "--run", "run"],
        ["visualize", "run", "-o", "new"],
        ["train", "-o", "run", "--resume"],
    ],
    ids=" ".join,
)
def test_a_damaged_configuration_is_named(call, content, copy, refused):
    Path("run", "config.json").write_bytes(content)
    assert "run/config.json" in refused(call, copy)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read all")
def test_what_may_not_be_read_is_refused(copy, refused):
    for name in ("run/model.safetensors", "run/config.json", "gallery/gallery.json", "photo.png"):
        Path(name).chmod(0)
    for call in (["encode", "run", "photo.png", "-o", "new"], ["index", "gallery"],
                 ["evaluate", "--run", "run"]):  # fmt: skip
        refused(call, copy)


HUGE = ["9223372036854775807", "9223372036854775808", "1" + "0" * 30]


@pytest.mark.parametrize("value", HUGE)
@pytest.mark.parametrize(
    "call",
    [
        ["search", "gallery", "photo.png", "--device", "cpu", "-k"],
        ["encode", "run", "photo.png", "-o", "new", "--part-size"],
        ["encode", "run", "photo.png", "-o", "new", "--batch-size"],
        [
            "evaluate",
            "--queries",
            "gallery",
            "--database",
            "gallery",
            "--report",
            "new.html",
            "--topk",
        ],
    ],
    ids=lambda c: c[-1],
)
def test_a_huge_number_is_either_taken_or_refused(call, value, copy):
    result = CliRunner().invoke(app, [*call, value])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    assert result.exit_code in (0, 2) and "Traceback" not in result.stderr
    if result.exit_code == 2:
        assert call[-1] in result.stderr or value in result.stderr
