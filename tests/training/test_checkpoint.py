"""Checkpoint folders: whole or absent, the newest good one is found."""

import errno
import json
import os

import pytest
import torch

from semicon_fast.training import checkpoint
from semicon_fast.training.checkpoint import Position

TENSORS = {"model/a": torch.arange(6.0).reshape(2, 3), "random/cpu": torch.arange(5).byte()}


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def fail(text):
    raise AssertionError(text)


@pytest.mark.parametrize(
    "position",
    [Position(), Position(3), Position(3, 2), Position(3, 2, 17), Position(3, 0, 1)]
    + [Position(3, 30, 0, True), Position(1_000_000, 123, 4_000_000)],
)
def test_a_name_says_the_position(position):
    assert checkpoint.position_of(position.name()) == position


@pytest.mark.parametrize("name", ["latest", "", "000003-x02", "000003-e", ".000003.partial", "3"])
def test_other_names_are_no_positions(name):
    assert checkpoint.position_of(name) is None


def test_what_was_saved_comes_back(tmp_path):
    state = {"started": 2, "lr": 0.1 + 0.2, "nested": {"a": [1, None]}}
    checkpoint.save(tmp_path, Position(3, 1, 4), TENSORS, state)
    found = checkpoint.newest(tmp_path, fail)
    assert found.path.name == "000003-e01-b000004"
    assert all(torch.equal(found.tensors[name], TENSORS[name]) for name in TENSORS)
    assert found.state["lr"] == 0.1 + 0.2 and found.state["nested"] == {"a": [1, None]}
    assert Position(*found.state["position"]) == Position(3, 1, 4)


def test_the_two_newest_are_kept_whatever_the_order_of_their_names(tmp_path):
    for epoch in (98, 99, 100):
        checkpoint.save(tmp_path, Position(0, epoch), TENSORS, {})
    assert names(tmp_path) == ["000000-e100", "000000-e99"]
    assert checkpoint.newest(tmp_path, fail).path.name == "000000-e100"


def damage_half(path):
    file = path / "tensors.safetensors"
    file.write_bytes(file.read_bytes()[:-4])


def damage_bit(path):
    file = path / "tensors.safetensors"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)


def damage_state(path):
    (path / "state.json").write_text('{"vers')


def damage_list(path):
    (path / "state.json").write_text("[]")


def damage_missing(path):
    (path / "state.json").unlink()


@pytest.mark.parametrize(
    "damage", [damage_half, damage_bit, damage_state, damage_list, damage_missing]
)
def test_a_damaged_one_is_named_and_skipped(tmp_path, damage):
    checkpoint.save(tmp_path, Position(1), TENSORS, {"good": 1})
    damage(checkpoint.save(tmp_path, Position(2), TENSORS, {}))
    warnings = []
    found = checkpoint.newest(tmp_path, warnings.append)
    assert found.state["good"] == 1
    assert len(warnings) == 1 and "000002 is damaged" in warnings[0]


def test_a_damaged_one_is_replaced_when_its_position_comes_again(tmp_path):
    damage_bit(checkpoint.save(tmp_path, Position(2), TENSORS, {}))
    checkpoint.save(tmp_path, Position(2), TENSORS, {"good": 1})
    assert checkpoint.newest(tmp_path, fail).state["good"] == 1
    assert names(tmp_path) == ["000002"]


def test_an_unfinished_one_is_not_seen_and_cleared_away(tmp_path):
    checkpoint.save(tmp_path, Position(1), TENSORS, {})
    (tmp_path / ".000002.partial").mkdir()
    (tmp_path / ".000002.partial" / "state.json").write_text(json.dumps({"version": 1}))
    assert checkpoint.newest(tmp_path, fail).path.name == "000001"
    assert names(tmp_path) == ["000001"]


def test_one_of_a_newer_library_is_named(tmp_path):
    path = checkpoint.save(tmp_path, Position(1), TENSORS, {})
    state = json.loads((path / "state.json").read_text())
    (path / "state.json").write_text(json.dumps({**state, "version": 99}))
    warnings = []
    assert checkpoint.newest(tmp_path, warnings.append) is None
    assert "version 99" in warnings[0]


def no_space(*_, **__):
    raise OSError(errno.ENOSPC, "No space left on device")


def no_space_in_rust(*_, **__):
    raise checkpoint.SafetensorError("Error while serializing: I/O error: No space left on device")


@pytest.mark.parametrize(
    "where, failure",
    [
        ((os, "fsync"), no_space),
        ((os, "replace"), no_space),
        ((checkpoint, "save_file"), no_space),
        ((checkpoint, "save_file"), no_space_in_rust),
    ],
    ids=["fsync", "replace", "save_file", "safetensors"],
)
def test_a_full_disk_is_one_sentence_and_older_ones_stay(tmp_path, monkeypatch, where, failure):
    checkpoint.save(tmp_path, Position(1), TENSORS, {"good": 1})
    checkpoint.save(tmp_path, Position(2), TENSORS, {"good": 2})
    with monkeypatch.context() as patch:
        patch.setattr(*where, failure)
        with pytest.raises(OSError, match="000003: the disk is full; .*000002") as caught:
            checkpoint.save(tmp_path, Position(3), TENSORS, {})
    assert caught.value.errno == errno.ENOSPC or failure is no_space_in_rust
    assert names(tmp_path) == ["000001", "000002"]
    assert checkpoint.newest(tmp_path, fail).state["good"] == 2


def test_no_folder_is_no_checkpoint(tmp_path):
    assert checkpoint.newest(tmp_path / "none", fail) is None
