"""Checkpoints of the released code: what loads, and files that must not."""

import os
import pickle

import pytest
import torch

from semicon_fast.models import SEMICON, load_released


class Bomb:
    """Pickled, this runs a command when it is unpickled."""

    def __init__(self, target):
        self.target = target

    def __reduce__(self):
        return os.mkdir, (str(self.target),)


def entries(bits=12, parts=3):
    """A state dict with the released names and shapes, a different number in each entry."""
    with torch.device("meta"):
        shapes = SEMICON(bits, parts=parts, variant="official").state_dict()
    # Expanded scalars keep the file small; the sizes are those of ResNet-50.
    return {
        name: torch.tensor(i).expand(value.shape)
        if name.endswith("num_batches_tracked")
        else torch.tensor(i / 1000).expand(value.shape)
        for i, (name, value) in enumerate(shapes.items())
    }


def stored(tmp_path, state):
    path = tmp_path / "model.pth"
    torch.save(state, path)
    return path


@pytest.mark.parametrize(("bits", "parts"), [(12, 3), (32, 3), (16, 3), (24, 4)])
def test_a_released_checkpoint_loads_with_its_own_code_length(tmp_path, bits, parts):
    state = entries(bits, parts)
    model = load_released(stored(tmp_path, state))
    assert (model.code_length, model.parts, model.variant) == (bits, parts, "official")
    assert not model.training
    loaded = model.state_dict()
    assert list(loaded) == list(state)
    for name in ("W_L3", "refine_local.layer4.4.qkv2.bias", "attention.feature2.1.running_var"):
        assert torch.equal(loaded[name], state[name])


def test_the_expected_code_length_is_checked(tmp_path):
    path = stored(tmp_path, entries(12))
    assert load_released(path, 12).code_length == 12
    with pytest.raises(ValueError, match="has 12-bit codes, but code_length is 48"):
        load_released(path, code_length=48)


def test_missing_and_unexpected_entries_are_named(tmp_path):
    state = entries()
    del state["refine_local.layer4.2.norm.weight"]
    state["fc.weight"] = torch.zeros(1)
    with pytest.raises(
        ValueError, match=r"no refine_local\.layer4\.2\.norm\.weight; unexpected fc\.weight"
    ):
        load_released(stored(tmp_path, state))


def test_entries_of_another_shape_are_named(tmp_path):
    state = entries()
    state["W_L2"] = torch.zeros(2, 512)
    with pytest.raises(ValueError, match=r"W_L2 is \(2, 512\) instead of \(2, 2048\)"):
        load_released(stored(tmp_path, state))
    state["W_L2"] = torch.zeros(2)
    with pytest.raises(ValueError, match=r"W_L2 must be \(bits, C\), got \(2,\)"):
        load_released(stored(tmp_path, state))


def test_another_split_of_the_bits_is_named(tmp_path):
    state = entries(12)
    state["W_G"] = torch.zeros(12, 2048)
    with pytest.raises(ValueError, match=r"splits 18 bits into \[12, 2, 2, 2\]"):
        load_released(stored(tmp_path, state))


def test_other_state_dicts_are_refused(tmp_path):
    path = stored(tmp_path, {"conv1.weight": torch.zeros(1), "W_G": torch.zeros(2, 2)})
    with pytest.raises(ValueError, match="not a checkpoint of the released code: no W_G and W_L1"):
        load_released(path)


@pytest.mark.parametrize("content", [[torch.zeros(2)], {"epoch": 3}, torch.zeros(2), {}])
def test_files_that_are_not_state_dicts_are_refused(tmp_path, content):
    with pytest.raises(ValueError, match="state dict|not a checkpoint"):
        load_released(stored(tmp_path, content))


@pytest.mark.parametrize("legacy", [False, True])
def test_a_pickle_bomb_is_refused_and_does_not_go_off(tmp_path, legacy):
    target, path = tmp_path / "went-off", tmp_path / "model.pth"
    bomb = {"W_G": torch.zeros(6, 2048), "W_L1": Bomb(target)}
    if legacy:
        path.write_bytes(pickle.dumps({"W_G": Bomb(target)}, protocol=2))
    else:
        torch.save(bomb, path)
    with pytest.raises(ValueError, match="would have to be unpickled, which is not allowed"):
        load_released(path)
    assert not target.exists()
    pickle.loads(pickle.dumps(Bomb(target)))
    assert target.exists(), "the bomb itself must work, or this test shows nothing"


@pytest.mark.parametrize("keep", [0, 10, 300, -40])
def test_damaged_files_are_refused(tmp_path, keep):
    path = stored(tmp_path, {"W_G": torch.zeros(6, 20)})
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(ValueError, match="not a file of tensors"):
        load_released(path)


def test_a_missing_file_is_not_found(tmp_path):
    with pytest.raises(FileNotFoundError, match="model.pth is not a file"):
        load_released(tmp_path / "model.pth")
