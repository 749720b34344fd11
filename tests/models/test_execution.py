"""A network that cannot be compiled here runs uncompiled, and says so once."""

import warnings

import numpy as np
import pytest
import torch

from semicon_fast import models
from semicon_fast.data.transforms import Transform
from semicon_fast.encoding import Runner
from semicon_fast.models import execution


@pytest.fixture
def uncompilable(monkeypatch):
    """As where there is no compiler, whose error inductor raises at the first call."""

    def compile(function, **options):
        def call(*arguments):
            raise RuntimeError("\nNo working C++ compiler found\n\nSet TORCHDYNAMO_VERBOSE=1")

        return call

    monkeypatch.setattr(torch, "compile", compile)
    execution.compiles.cache_clear()
    yield
    execution.compiles.cache_clear()


def test_codes_are_those_of_the_uncompiled_network(uncompilable):
    network = models.build({"network": "small", "code_length": 8, "width": 4}, seed=0).eval()
    network.preprocess = Transform("plain", 16, False).config()
    pixels = torch.arange(2 * 3 * 256, dtype=torch.int64).remainder(251).to(torch.uint8)
    pixels = pixels.view(2, 3, 16, 16)
    with pytest.warns(RuntimeWarning, match=r"does not work here .No working C\+\+ compiler"):
        runner = Runner(network, compile=True)
    np.testing.assert_array_equal(runner(pixels), Runner(network)(pixels))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Runner(network, compile=True)


def test_a_cpu_without_half_precision_says_so_once(monkeypatch: pytest.MonkeyPatch) -> None:
    cpu = torch.device("cpu")
    execution.warn_if_emulated.cache_clear()
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX2")
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        for precision in ("fp32", "bf16", "bf16"):
            execution.autocast(cpu, precision)
    assert len(found) == 1 and "no instructions for bf16" in str(found[0].message)
    execution.warn_if_emulated.cache_clear()
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX512")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        execution.autocast(cpu, "bf16")
    execution.warn_if_emulated.cache_clear()
