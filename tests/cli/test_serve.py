"""`semicon-fast serve` before it serves: what it refuses, what it warns of."""

import json
import socket
import sys

import numpy as np
import pytest
from typer.testing import CliRunner

import semicon_fast as sf
from semicon_fast import models
from semicon_fast.cli import app
from semicon_fast.search.gallery import Gallery


@pytest.fixture
def folder(tmp_path):
    codes = np.arange(4, dtype=np.uint8).reshape(4, 1)
    Gallery(codes, 8, [f"{i}.png" for i in range(4)]).save(tmp_path / "gallery")
    return tmp_path / "gallery"


def run(*arguments, code=0):
    result = CliRunner().invoke(app, ["serve", *map(str, arguments)])
    assert result.exit_code == code, result.output + result.stderr
    return result


def refused(*arguments):
    said = run(*arguments, code=2).stderr
    assert said.startswith("error: ") and "Traceback" not in said
    return " ".join(said.split())


@pytest.fixture
def served(monkeypatch):
    """Instead of serving: what would be served."""
    pytest.importorskip("fastapi", reason="the extra [serve] is not installed")
    from semicon_fast import serve

    calls = []

    def instead(application, listening, limits):
        calls.append((listening.getsockname(), limits))
        listening.close()

    monkeypatch.setattr(serve, "run", instead)
    return calls


@pytest.mark.parametrize("missing", ["fastapi", "uvicorn"])
def test_without_the_extra_one_sentence_says_how_to_get_it(folder, monkeypatch, missing):
    for name in [m for m in sys.modules if m.startswith("semicon_fast.serve")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, missing, None)
    said = refused(folder, "--no-model")
    assert missing in said and "pip install 'semicon_fast[serve]'" in said


def test_it_listens_to_this_machine_only(folder, served):
    said = run(folder, "--no-model", "--port", "0").stdout
    (address, port), limits = served[0]
    assert address == "127.0.0.1" and f"http://127.0.0.1:{port}/" in said and "warning" not in said
    assert (limits.upload_bytes, limits.pixels, limits.workers) == (16 * 2**20, 40_000_000, 1)


def test_another_address_is_warned_of(folder, served):
    result = run(folder, "--no-model", "--port", "0", "--host", "0.0.0.0", "--json")
    assert "warning" in result.stderr and "no password" in result.stderr
    assert json.loads(result.stdout)["count"] == 4


def test_a_port_in_use_and_a_foreign_address_are_sentences(folder, served):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        assert f"port {port}" in refused(folder, "--no-model", "--port", port)
    said = refused(folder, "--no-model", "--host", "no such host")
    assert "not an address of this machine" in said


def test_the_model_must_be_the_one_that_made_the_codes(folder, served, tmp_path):
    assert "--no-model" in refused(folder)
    about = json.loads((folder / "gallery.json").read_text())
    (folder / "gallery.json").write_text(json.dumps({**about, "model_sha256": "0" * 64}))
    models.save(sf.models.SmallHashNet(8, width=8), tmp_path / "model.safetensors")
    assert "is not the model" in refused(folder, "--model", tmp_path / "model.safetensors")
    (folder / "gallery.json").write_text(json.dumps(about))
    assert "how its images were prepared" in refused(
        folder, "--model", tmp_path / "model.safetensors"
    )
    assert not served


def test_a_folder_that_is_no_gallery(tmp_path, served):
    assert "is no gallery" in refused(tmp_path)
