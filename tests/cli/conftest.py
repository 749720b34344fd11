"""A folder of what commands refuse, beside a run, a gallery, vectors and a hasher that
they take."""

import re

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from semicon_fast import models, shallow
from semicon_fast.cli import app
from semicon_fast.data.transforms import Transform
from semicon_fast.search.gallery import write_gallery
from semicon_fast.training import presets


@pytest.fixture(scope="session")
def junk(tmp_path_factory):
    """Things that are there, and none of them what a command wants but `run`, `gallery`, `x.npy`,
    `x.npz` and `hasher`."""
    here = tmp_path_factory.mktemp("places")
    Image.new("RGB", (16, 16)).save(here / "photo.png")
    (here / "empty").mkdir()
    (here / "folder.png").mkdir()
    (here / "garbage.bin").write_bytes(bytes(range(128, 256)) * 9)
    (here / "list.json").write_text("[1, 2]")
    (here / "loop").symlink_to("loop")
    (here / "loops" / "in").mkdir(parents=True)
    (here / "loops" / "in" / "again").symlink_to("..")
    for run, preset, root in (("run", "birdlets-48", None), ("moved", "folder-12", "gone")):
        (here / run).mkdir()
        config = presets.preset(preset).override([f"data.root={root}"])
        (here / run / "config.json").write_text(config.model_dump_json())
        network = models.build({"network": "small", "code_length": 8, "width": 4}, seed=0)
        network.preprocess = Transform("plain", 16, False).config()
        models.save(network, here / run / "model.safetensors")
    piece = np.arange(4, dtype=np.uint8)[:, None], ["photo.png"] * 4, ["a", "a", "b", "b"]
    about = {"model": str(here / "run" / "model.safetensors")}
    write_gallery(here / "gallery", [piece], 8, 4, about, index=True)
    rows = np.random.default_rng(0).standard_normal((20, 6))
    np.save(here / "x.npy", rows)
    np.savez(here / "x.npz", features=rows)
    (here / "garbage.npy").write_bytes(bytes(range(128, 256)))
    shallow.build("itq", 4).fit(rows).save(here / "hasher")
    for folder, content in (("garbage", bytes(range(128, 256))), ("list", b"[1, 2]")):
        (here / folder).mkdir()
        for name in ("gallery.json", "config.json"):
            (here / folder / name).write_bytes(content)
    return here


def stand(folder):
    """Every path below the folder with its size and its time."""
    paths = sorted(folder.rglob("*"))
    return [(p, p.lstat().st_size, p.lstat().st_mtime_ns) for p in paths]


def _refused(call, folder):
    """What is said of a call, which must be refused without a trace, on one line."""
    before = stand(folder)
    result = CliRunner().invoke(app, call)
    said = result.stderr
    shown = f"{[str(a)[:80] for a in call]}: {result.exit_code}, {said[-1500:]!r}"
    stopped = result.exception is None or isinstance(result.exception, SystemExit)
    assert stopped, f"{shown}: {result.exception!r}"
    assert result.exit_code == 2, f"{shown}, {result.stdout[-300:]!r}"
    assert "Traceback" not in said and said.strip(), shown
    if not said.lstrip().startswith(("Usage:", "╭─ Error")):
        assert said.startswith("error: ") and said.count("\n") == 1, shown
        assert "[Errno" not in said, shown
    assert stand(folder) == before, f"{shown}: something was written"
    return " ".join(re.sub("[│╭╰╮╯─]", " ", said).split())


@pytest.fixture
def refused():
    """(command line, folder) -> what is said of it; fails unless that is one sentence, exit code 2,
    and the folder as it was."""
    return _refused
