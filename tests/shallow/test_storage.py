"""Files of hashers: whole or not at all, and refused where they are something else."""

import json

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from semicon_fast import models, shallow

FEATURES = np.random.default_rng(0).normal(size=(40, 6))


@pytest.fixture
def written(tmp_path):
    """A file of a hasher, its header, its tensors, and a function that writes others."""
    path = tmp_path / "hasher.safetensors"
    shallow.ITQ(4).fit(FEATURES).save(path)
    with safe_open(path, "pt") as file:
        header = json.loads(file.metadata()["semicon_fast"])
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118

    def write(**changes):
        kept = {name: changes.pop(name, value) for name, value in tensors.items()}
        save_file(
            {name: value for name, value in kept.items() if value is not None},
            path,
            metadata={"semicon_fast": json.dumps({**header, **changes})},
        )
        return path

    return path, header, tensors, write


def test_the_header_says_what_it_is(written):
    _, header, tensors, _ = written
    assert header == {
        "format": 1,
        "hasher": "itq",
        "parameters": {
            "bits": 4,
            "iterations": 50,
            "normalise": False,
            "start": None,
            "seed": 0,
        },
        "features": 6,
    }
    assert {name: tuple(value.shape) for name, value in tensors.items()} == {
        "mean": (6,),
        "projection": (6, 4),
    }


@pytest.mark.parametrize(
    "changes, sentence",
    [
        ({"format": 2}, "has format 2, this version reads up to 1"),
        ({"hasher": "pca"}, "cannot be used: hasher must be one of"),
        ({"parameters": {"bits": 5}}, "cannot be used: its codes have 4 bits, not 5"),
        ({"parameters": {"bits": "4"}}, "cannot be used: bits must be an integer"),
        ({"parameters": {}}, "cannot be used"),
        ({"features": 7}, "cannot be used"),
        ({"features": "6"}, "not a hasher that this library wrote"),
        ({"mean": None}, "cannot be used: it holds projection"),
    ],
)
def test_files_that_do_not_fit_are_refused(written, changes, sentence):
    path = written[-1](**changes)
    with pytest.raises(ValueError, match=f"{path.name}.*{sentence}"):
        shallow.load(path)


def test_other_files_are_refused(written, tmp_path):
    path = written[0]
    with pytest.raises(ValueError, match="not a network that this library wrote"):
        models.load(path)
    save_file({"mean": torch.ones(6)}, path)
    with pytest.raises(ValueError, match="not a hasher that this library wrote"):
        shallow.load(path)
    path.write_bytes(path.read_bytes()[:9])
    with pytest.raises(ValueError, match="not a safetensors file, or is damaged"):
        shallow.load(path)
    with pytest.raises(FileNotFoundError, match="is not a file"):
        shallow.load(tmp_path)


def test_nothing_is_written_of_a_hasher_that_has_learned_nothing(tmp_path):
    with pytest.raises(ValueError, match="itq has learned nothing yet: call fit before save"):
        shallow.ITQ(4).save(tmp_path / "none")
    assert not list(tmp_path.iterdir())


def test_matrices_among_the_parameters_are_kept(tmp_path):
    start = np.eye(4, dtype=np.float32)[::-1]
    hasher = shallow.ITQ(np.int64(4), start=start).fit(FEATURES)
    hasher.save(tmp_path / "hasher")
    again = shallow.load(tmp_path / "hasher")
    assert again.bits == 4 and np.array_equal(again.start, start)
    assert np.array_equal(again.fit(FEATURES).encode(FEATURES), hasher.encode(FEATURES))
