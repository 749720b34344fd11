"""Encoding on a CUDA device gives the CPU's codes but where they are near 0."""

import pytest
import torch

from semicon_fast import models
from semicon_fast.data import transforms
from semicon_fast.encoding import Runner
from semicon_fast.search import unpack_codes

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
]


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("precision, near", [("fp32", 1e-3), ("bf16", 0.1), ("fp16", 0.05)])
def test_codes_are_the_cpus(precision, near, compiled):
    torch.backends.cudnn.allow_tf32 = False
    model = models.build({"network": "semicon", "code_length": 48, "backbone": "tiny"}, seed=0)
    model.preprocess = transforms.build("small", 64, False).config()
    draw = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (40, 3, 64, 64), generator=draw, dtype=torch.uint8)
    with torch.inference_mode():
        images = transforms.from_config(model.preprocess).normalised(pixels)
        real = model.eval()(images).codes
    runner = Runner(model, "cuda", precision=precision, compile=compiled)
    batches = [(batch.pin_memory(), at) for at, batch in enumerate(pixels.split(16))]
    found = list(runner.stream(batches))
    assert [at for _, at in found] == [0, 1, 2]
    codes = torch.cat([torch.from_numpy(codes.copy()) for codes, _ in found])
    differ = (unpack_codes(codes, 48) > 0) != (real >= 0)
    assert differ.float().mean() < 0.1
    assert not differ.any() or real[differ].abs().max() < near
