"""Several processes share an encoding; what they make is what one makes."""

from pathlib import Path

import numpy as np
from PIL import Image

from semicon_fast import models
from semicon_fast.data import transforms
from semicon_fast.encoding import Options, encode_images

ENCODE = """
import sys
from semicon_fast import distributed, models
from semicon_fast.encoding import Options, encode_images
distributed.join()
options = Options(batch_size=4, part_images=4, workers=0, index=True)
made = encode_images(models.load(sys.argv[1]), [sys.argv[2]], sys.argv[3], options=options)
print("encoded", made.encoded, "count", made.count, flush=True)
"""


def content(folder):
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def test_two_processes_give_the_files_of_one(torchrun, tmp_path):
    model = models.build({"network": "small", "code_length": 12, "width": 4}, seed=0)
    model.preprocess = transforms.build("small", 16, False).config()
    models.save(model, tmp_path / "model.safetensors")
    (tmp_path / "photos").mkdir()
    rng = np.random.default_rng(0)
    for i in range(30):
        pixels = rng.integers(0, 255, (16, 16, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / "photos" / f"{i:02}.png")
    script = Path(tmp_path / "encode.py")
    script.write_text(ENCODE)
    given = tmp_path / "model.safetensors", tmp_path / "photos", tmp_path / "two"
    out, errors = torchrun(2, script, *given).communicate(timeout=280)
    # Eight parts: four each, the last one of two images; process 0 knows the whole.
    assert sorted(out.splitlines()) == ["encoded 14 count 0", "encoded 16 count 30"], out + errors
    options = Options(batch_size=4, workers=0, index=True)
    encode_images(models.load(given[0]), [given[1]], tmp_path / "one", options=options)
    assert content(tmp_path / "two") == content(tmp_path / "one")
