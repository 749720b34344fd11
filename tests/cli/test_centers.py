"""`semicon-fast centers` makes, saves and shows a codebook."""

import json

import numpy as np
import torch
from typer.testing import CliRunner

from semicon_fast import centers
from semicon_fast.cli import app


def called(*arguments):
    return CliRunner().invoke(app, ["centers", *map(str, arguments)])


def test_a_codebook_is_made_saved_and_shown(tmp_path):
    made = called("--classes", 10, "--bits", 12, "-o", tmp_path / "c.safetensors")
    assert made.exit_code == 0, made.stderr
    found = centers.load(tmp_path / "c.safetensors")
    assert torch.equal(found, centers.hadamard(10, 12, torch.Generator().manual_seed(0)))
    shown = called(tmp_path / "c.safetensors")
    assert shown.stdout == made.stdout and "least distance" in shown.stdout
    facts = json.loads(called(tmp_path / "c.safetensors", "--json").stdout)
    assert facts["distances"] == centers.distances(found).tolist()
    assert facts["about"]["least distance"] == 6 and facts["nearest"][0] == [0, 1, 6]


def test_semantic_centers_come_from_a_file_of_similarities(tmp_path):
    np.save(tmp_path / "s.npy", np.eye(5) * 8)
    wanted = ("--classes", 5, "--bits", 8, "--kind", "semantic", "--similarity", tmp_path / "s.npy")
    facts = json.loads(called(*wanted, "--json").stdout)
    assert facts["about"]["least distance"] >= centers.gilbert_varshamov(5, 8)


def test_what_cannot_be_made_is_one_sentence(tmp_path):
    made = called("--classes", 9, "--bits", 3, "-o", tmp_path / "c.safetensors")
    assert made.exit_code == 2 and "classes must be at most 2^bits = 8" in made.stderr
    assert list(tmp_path.iterdir()) == []
