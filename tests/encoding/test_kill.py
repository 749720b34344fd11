"""An encoding that is killed at any moment, again and again, gives the files of one that is not."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from semicon_fast import models
from semicon_fast.data import transforms
from semicon_fast.encoding import Options, encode_images

ROOT = Path(__file__).resolve().parents[2]

# Imports once; then each line forks a process of its own that encodes, or goes on.
FORKS = """
import os, sys, traceback
import torch
from semicon_fast import models
from semicon_fast.encoding import Options, encode_images
from semicon_fast.search import HammingIndex

def encode(model, images, output, *rest):
    os.setsid()
    torch.set_num_threads(1)
    network = models.load(model)
    print("begun", os.getpid(), flush=True)
    options = Options(batch_size=4, part_images=4, workers=1, index=True)
    told = lambda done, total: print("at", done, flush=True)
    encode_images(network, [images], output, options=options, resume=bool(rest), progress=told)

for line in sys.stdin:
    if os.fork() == 0:
        try:
            encode(*line.split())
            print("done", flush=True)
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(0)
    os.wait()
    print("ended", flush=True)
"""


@pytest.fixture
def forks():
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    process = subprocess.Popen(
        [sys.executable, "-c", FORKS],
        env={**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    yield process
    process.stdin.close()
    process.wait()
    process.stdout.close()


def attempt(forks, given, resume, batches=None, seconds=0.0):
    """Encodes; with `batches`, until SIGKILL so many seconds after that batch ends the process and
    its workers. Whether it came to its end."""
    print(*given, *["resume"] * resume, file=forks.stdin, flush=True)
    word, pid = forks.stdout.readline().split()
    assert word == "begun"
    seen = 0
    done = False
    while (line := forks.stdout.readline()) != "ended\n":
        assert line, "the helper is gone"
        done = done or line == "done\n"
        seen += line.startswith("at")
        if seen == batches and not done:
            time.sleep(seconds)
            os.killpg(int(pid), signal.SIGKILL)
            batches = -1
    return done


def network():
    model = models.build({"network": "small", "code_length": 12, "width": 4}, seed=0)
    model.preprocess = transforms.build("small", 16, False).config()
    return model


def content(folder):
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


@pytest.mark.parametrize("kills", [2, pytest.param(10, marks=pytest.mark.slow)])
def test_killed_and_resumed_gives_the_same_files(forks, tmp_path, kills):
    models.save(network(), tmp_path / "model.safetensors")
    rng = np.random.default_rng(0)
    (tmp_path / "photos").mkdir()
    for i in range(80):
        pixels = rng.integers(0, 255, (16, 16, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / "photos" / f"{i:02}.png")
    draw = random.Random(kills)
    output = tmp_path / "g"
    given = tmp_path / "model.safetensors", tmp_path / "photos", output
    for kill in range(kills):
        # Up to a fifth of the images are encoded between two kills; two parts at least.
        killed = not attempt(forks, given, kill > 0, 1 + draw.randrange(3), draw.uniform(0, 0.02))
        assert killed or kill > 0
        assert killed or output.exists()
    assert attempt(forks, given, True) and not (tmp_path / "g.parts").exists()
    options = Options(batch_size=4, workers=0, index=True)
    encode_images(network(), [tmp_path / "photos"], tmp_path / "once", options=options)
    assert content(output) == content(tmp_path / "once")
    assert "index.hamming" in content(output)
