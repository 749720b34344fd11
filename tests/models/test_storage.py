"""One file holds a network; a damaged, foreign, newer or unexpected one is refused by name."""

import json

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from semicon_fast.models import SEMICON, build, load, save

CONFIG = {"network": "small", "code_length": 12, "width": 4}


def images():
    return torch.randn(3, 3, 16, 16, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def stored(tmp_path):
    model = build(CONFIG, seed=0)
    model.preprocess = {"recipe": "small", "size": 16, "mean": [0.5, 0.5, 0.5]}
    path = tmp_path / "model.safetensors"
    save(model, path)
    return model, path


def test_a_loaded_network_is_the_saved_one(stored):
    model, path = stored
    again = load(path)
    assert type(again) is type(model) and again.config() == CONFIG
    assert again.preprocess == model.preprocess and not again.training
    state = again.state_dict()
    assert all(torch.equal(state[name], value) for name, value in model.state_dict().items())
    assert torch.equal(again.encode(images()), model.encode(images()))
    assert all(parameter.requires_grad for parameter in again.parameters())


def test_loading_leaves_the_global_generator_alone(stored):
    before = torch.random.get_rng_state()
    load(stored[1], 12)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_a_semicon_with_channels_last_weights_survives(tmp_path):
    model = SEMICON(12, backbone="tiny", attention="erase", icon="one-step", alpha=0.2).eval()
    model = model.to(memory_format=torch.channels_last)
    save(model, tmp_path / "m.safetensors")
    again = load(tmp_path / "m.safetensors")
    assert again.config() == model.config()
    x = torch.randn(2, 3, 32, 32, generator=torch.Generator())
    torch.testing.assert_close(again(x).codes, model(x).codes)


def test_the_configuration_is_readable_json(stored):
    with safe_open(stored[1], framework="pt") as file:
        header = json.loads(file.metadata()["semicon_fast"])
    assert header["format"] == 1 and header["config"] == CONFIG


def test_a_failed_save_leaves_the_old_file(stored, monkeypatch):
    _, path = stored
    before = path.read_bytes()

    def fail(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", fail)
    with pytest.raises(OSError, match="model.safetensors"):
        save(build(CONFIG, seed=1), path)
    assert path.read_bytes() == before
    assert [p.name for p in path.parent.iterdir()] == ["model.safetensors"]


def test_another_code_length_names_both(stored):
    with pytest.raises(ValueError, match="has 12-bit codes, but code_length is 48"):
        load(stored[1], code_length=48)


def test_a_missing_file_is_not_found(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"none\.safetensors is not a file"):
        load(tmp_path / "none.safetensors")


@pytest.mark.parametrize("keep", [0, 5, 200, -1])
def test_truncated_files_are_refused(stored, keep):
    path = stored[1]
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(ValueError, match="not a safetensors file, or is damaged"):
        load(path)


def test_another_kind_of_file_is_refused(stored):
    torch.save({"a": torch.zeros(1)}, stored[1])
    with pytest.raises(ValueError, match="not a safetensors file"):
        load(stored[1])


@pytest.mark.parametrize(
    "metadata", [None, {}, {"format": "pt"}, {"semicon_fast": "{"}, {"semicon_fast": "[1]"},
                 {"semicon_fast": '{"format": 1}'}],
)  # fmt: skip
def test_foreign_safetensors_files_are_refused(tmp_path, metadata):
    path = tmp_path / "foreign.safetensors"
    save_file({"weight": torch.zeros(2)}, path, metadata=metadata)
    with pytest.raises(ValueError, match="not a network that this library wrote"):
        load(path)


def rewritten(path, change, tensors=None):
    with safe_open(path, framework="pt") as file:
        header = json.loads(file.metadata()["semicon_fast"])
        state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    change(header)
    (tensors or (lambda state: None))(state)
    save_file(state, path, metadata={"semicon_fast": json.dumps(header)})


def test_a_newer_format_says_so(stored):
    rewritten(stored[1], lambda header: header.update(format=2))
    with pytest.raises(ValueError, match="format 2, this version reads up to 1.*newer"):
        load(stored[1])


@pytest.mark.parametrize(
    "change",
    [
        {"network": "unknown"},
        {"code_length": 0},
        {"code_length": "12"},
        {"width": None},
        {"colour": 1},
    ],
)
def test_a_configuration_that_cannot_be_built_is_refused(stored, change):
    rewritten(stored[1], lambda header: header["config"].update(change))
    with pytest.raises(ValueError, match="describes a network that cannot be built"):
        load(stored[1])


def test_tensors_that_do_not_fit_are_named(stored):
    def change(state):
        del state["hash.bias"]
        state["extra"] = torch.zeros(1)
        state["hash.weight"] = torch.zeros(3, 16)

    rewritten(stored[1], lambda header: None, change)
    with pytest.raises(
        ValueError, match=r"no hash.bias; unexpected extra; hash.weight is \(3, 16\) instead of"
    ):
        load(stored[1])
