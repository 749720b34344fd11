"""The log: a line an event, cut back to what a checkpoint counted."""

import json
import os

import pytest

from semicon_fast.training.log import Log


def test_a_line_is_on_disk_as_soon_as_it_is_written(tmp_path):
    log = Log(tmp_path / "log.jsonl")
    record = log.write("epoch", loss={"hash": 0.1 + 0.2}, seconds=1.5)
    assert [json.loads(x) for x in (tmp_path / "log.jsonl").read_text().splitlines()] == [record]
    assert record["loss"]["hash"] == 0.1 + 0.2 and log.lines == 1


@pytest.mark.parametrize("keep, left", [(0, 0), (2, 2), (3, 3), (7, 3)])
def test_it_is_cut_back_and_goes_on(tmp_path, keep, left):
    path = tmp_path / "log.jsonl"
    path.write_text('{"a": 1}\n{"a": 2}\n{"a": 3}\n')
    log = Log(path, keep)
    assert log.lines == left
    log.write("end")
    assert len(path.read_text().splitlines()) == left + 1
    assert path.read_text().startswith('{"a": 1}\n' if left else '{"event"')


def test_a_half_written_last_line_goes_too(tmp_path):
    path = tmp_path / "log.jsonl"
    path.write_text('{"a": 1}\n{"a"')
    Log(path, 1).write("end")
    assert [json.loads(line) for line in path.read_text().splitlines()][1] == {"event": "end"}


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_a_full_disk_is_one_sentence(tmp_path):
    log = Log(tmp_path / "log.jsonl")
    log._file = open("/dev/full", "ab")  # noqa: SIM115
    with pytest.raises(OSError, match="could not write .*log.jsonl: No space left"):
        log.write("epoch")
