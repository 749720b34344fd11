"""The plain operators on a CUDA device answer as on the CPU, autocast and graphs included."""

import pytest
import torch

from semicon_fast import ICON, SEM, HammingIndex, ops, pack_codes

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
]


def codes(rows, bits, seed):
    generator = torch.Generator().manual_seed(seed)
    return pack_codes(torch.rand(rows, bits, generator=generator) > 0.5)


@pytest.mark.parametrize("bits", [1, 12, 48, 64, 200])
@pytest.mark.parametrize("k", [1, 10, 999, 1000])
def test_search_gives_the_answers_of_the_cpu(bits, k):
    queries, database = codes(17, bits, 0), codes(1000, bits, 1)
    expected = ops.hamming_topk(queries, database, k)
    found = ops.hamming_topk(queries.cuda(), database.cuda(), k)
    assert all(torch.equal(a, b.cpu()) for a, b in zip(expected, found, strict=True))


def test_an_index_on_the_device_answers_as_one_on_the_cpu():
    answers = []
    for device in ("cpu", "cuda"):
        index = HammingIndex(48, device=device)
        index.add(codes(500, 48, 2))
        answers.append(index.search(codes(9, 48, 3), 600))
    assert all(torch.equal(a, b) for a, b in zip(*answers, strict=True))


@pytest.mark.parametrize("variant", ["paper", "official"])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize(
    "make", [lambda v: ICON(256, 16, variant=v), lambda v: SEM(256, variant=v)]
)
def test_layers_agree_with_float64_as_well_as_twice_the_cpu_does(variant, layout, make):
    torch.manual_seed(0)
    layer = make(variant)
    x = torch.randn(4, 256, 7, 7)
    exact = make(variant).double()
    exact.load_state_dict({n: t.double() for n, t in layer.state_dict().items()})
    results = {}
    for name, module, data in (
        ("exact", exact, x.double()),
        ("cpu", layer, x),
        ("cuda", layer, x.cuda()),
    ):
        module = module.to(data.device)
        given = data.to(memory_format=layout).requires_grad_()
        module.zero_grad()
        torch.backends.cudnn.allow_tf32 = False
        out = module(given)
        out.square().sum().backward()
        results[name] = [t.detach().cpu().double() for t in (out, given.grad)]
    for exact_value, cpu, cuda in zip(*results.values(), strict=True):
        scale = exact_value.abs().max()
        own = (cpu - exact_value).abs().max()
        assert (cuda - exact_value).abs().max() <= 2 * own + 1e-5 * scale


def test_autocast_rules_hold():
    layer = ICON(256, 16).cuda()
    with torch.autocast("cuda", torch.bfloat16):
        out = layer(torch.randn(2, 256, 7, 7, device="cuda"))
    assert out.dtype is torch.bfloat16 and bool(torch.isfinite(out).all())


def test_a_cuda_graph_replays_icon():
    layer = ICON(256, 16).cuda().eval()
    x = torch.randn(2, 256, 7, 7, device="cuda")
    with torch.no_grad():
        expected = layer(x)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            out = layer(x)
        x.neg_()
        graph.replay()
        assert torch.equal(out, layer(x)) and not torch.equal(out, expected)
