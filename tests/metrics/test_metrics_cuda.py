"""Figures of codes on a CUDA device are those of the CPU, and no query is waited for."""

import warnings

import pytest
import torch

from semicon_fast import metrics
from semicon_fast.metrics._retrieval import Retrieval

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
]
DEVICE = "cuda"


def codes(rows, bits, seed, distinct=300):
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.randint(0, 256, (distinct, -(-bits // 8)), dtype=torch.uint8, generator=generator)
    drawn[:, -1] &= 255 >> (-bits % 8)
    return drawn[torch.randint(distinct, (rows,), generator=generator)]


def labels(rows, seed, several):
    generator = torch.Generator().manual_seed(seed)
    if several:
        return torch.rand(rows, 9, generator=generator) < 0.15
    return torch.randint(0, 23, (rows,), generator=generator)


def problem(queries, size, bits, several, device):
    made = codes(queries, bits, 0), codes(size, bits, 1)
    made += labels(queries, 2, several), labels(size, 3, several)
    return [tensor.to(device) for tensor in made]


@pytest.mark.parametrize("several", [False, True])
@pytest.mark.parametrize("bits", [12, 48, 64, 130])
@pytest.mark.parametrize("topk", [None, 700])
@pytest.mark.parametrize("left_out", [False, True])
def test_every_figure_is_that_of_the_cpu(several, bits, topk, left_out):
    found = []
    for device in ("cpu", DEVICE):
        given = problem(400, 3000, bits, several, device)
        exclude = torch.arange(-1, 399, device=device) if left_out else None
        rule = {"topk": topk, "all_ties": True, "exclude": exclude}
        found.append(metrics.evaluate(*given, bits=bits, curve=True, radius=3, **rule))
    curves = [figures.pop("curve") for figures in found]
    assert found[0].keys() == found[1].keys()
    for name, value in found[0].items():
        if isinstance(value, float):
            value = pytest.approx(value, rel=1e-11, abs=1e-13)
        assert found[1][name] == value, name
    for name, values in curves[0].items():
        assert curves[1][name] == pytest.approx(values, rel=1e-11, abs=1e-13), name


@pytest.mark.parametrize("several", [False, True])
def test_counts_and_ranks_are_those_of_the_cpu(several):
    parts = []
    for device in ("cpu", DEVICE):
        blocks = list(Retrieval.checked(*problem(900, 4000, 48, several, device), 48).blocks())
        parts.append(
            [
                torch.cat([getattr(block, name) for block in blocks]).cpu()
                for name in ("total", "relevant", "relevant_count", "ranks")
            ]
        )
    for one, other in zip(*parts, strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("ties", ["stable", "expected"])
def test_the_host_waits_as_often_for_many_queries_as_for_few(ties):
    waits = []
    for queries in (200, 200, 3000):  # the first of them loads and builds
        given = problem(queries, 2000, 48, False, DEVICE)
        torch.cuda.synchronize()
        torch.cuda.set_sync_debug_mode("warn")
        try:
            with warnings.catch_warnings(record=True) as seen:
                warnings.simplefilter("always")
                metrics.mean_average_precision(*given, bits=48, ties=ties)
        finally:
            torch.cuda.set_sync_debug_mode("default")
        waits.append(sum("synchronizing" in str(warning.message) for warning in seen))
    assert 0 < waits[1] == waits[2] < 30
