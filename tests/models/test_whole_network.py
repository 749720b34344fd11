"""SEMICON as a whole: parts in one batch, layouts, autocast, compilation, export change nothing."""

import copy
import itertools

import pytest
import torch

from semicon_fast import reference
from semicon_fast.models import build
from semicon_fast.models.backbones import Stage4, global_average_pool


def images(count=3, size=32, seed=0):
    return torch.randn(count, 3, size, size, generator=torch.Generator().manual_seed(seed))


def network(variant="paper", **options):
    """A small network in evaluation mode whose maps are alive."""
    config = {"network": "semicon", "code_length": 24, "backbone": "tiny", "variant": variant}
    model = build({**config, **options}, seed=0).eval()
    for i in range(model.parts):
        model.attention.get_submodule(f"feature{i + 1}")[1].bias.data.fill_(0.5)
    return model


def stage(backbone, train):
    """A stage 4, its features and maps in float64, so that only real differences show."""
    torch.manual_seed(0)
    made = Stage4(backbone, "two-step", "official").double().train(train)
    channels = made.layer4[0].conv1.in_channels
    generator = torch.Generator().manual_seed(1)
    features = torch.randn(2, channels, 5, 4, generator=generator, dtype=torch.float64)
    maps = torch.rand(2, 3, 5, 4, generator=generator, dtype=torch.float64)
    return made, features, maps


def by_loop(made, features, maps):
    """As released: the stage on one product after the other."""
    return torch.stack(
        [global_average_pool(made(m * features)) for m in maps.split(1, dim=1)], dim=1
    )


CONTIGUOUS, CHANNELS_LAST = torch.contiguous_format, torch.channels_last
# Of the wide stages one each by default; the narrow one has blocks as ResNet-50 has.
WIDE = [("resnet18", False, CONTIGUOUS), ("resnet50", True, CHANNELS_LAST)]


@pytest.mark.parametrize(
    ("backbone", "train", "layout"),
    [
        pytest.param(*case, marks=[] if case[0] == "tiny" or case in WIDE else pytest.mark.slow)
        for case in itertools.product(
            ["tiny", "resnet18", "resnet50"], [False, True], [CONTIGUOUS, CHANNELS_LAST]
        )
    ],
)
def test_parts_equal_a_loop_over_the_products(backbone, train, layout):
    made, features, maps = stage(backbone, train)
    other = copy.deepcopy(made)
    features = features.to(memory_format=layout)
    with torch.no_grad():
        own, loop = made.parts(features, maps), by_loop(other, features, maps)
    assert own.shape == (2, 3, made.layer4[0].downsample[0].out_channels)
    torch.testing.assert_close(own, loop, rtol=1e-7, atol=1e-9)
    # BatchNorm has seen the same parts in the same order, each alone.
    for (name, ours), theirs in zip(
        made.state_dict().items(), other.state_dict().values(), strict=True
    ):
        torch.testing.assert_close(ours, theirs, rtol=1e-7, atol=1e-9, msg=name)


@pytest.mark.parametrize("train", [False, True])
def test_gradients_of_the_parts_equal_those_of_the_loop(train):
    found = []
    for run in (Stage4.parts, by_loop):
        made, features, maps = stage("tiny", train)
        given = [features.requires_grad_(), maps.requires_grad_()]
        run(made, *given).square().sum().backward()
        found.append([t.grad for t in (*given, *made.parameters())])
    for ours, loop in zip(*found, strict=True):
        torch.testing.assert_close(ours, loop, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize(
    ("variant", "train"),
    [
        ("official", True),
        ("paper", False),
        pytest.param("official", False, marks=pytest.mark.slow),
        pytest.param("paper", True, marks=pytest.mark.slow),
    ],
)
def test_channels_last_changes_nothing_but_the_rounding(variant, train):
    model, x = network(variant).double().train(train), images().double()
    last = copy.deepcopy(model).to(memory_format=torch.channels_last)
    outputs = [model(x), last(x.to(memory_format=torch.channels_last))]
    for plain, other in zip(*outputs, strict=True):
        torch.testing.assert_close(other, plain, rtol=1e-7, atol=1e-9)
    gradients = []
    for output, net in zip(outputs, (model, last), strict=True):
        output.codes.square().sum().backward()
        gradients.append([p.grad for p in net.parameters()])
    for plain, other in zip(*gradients, strict=True):
        torch.testing.assert_close(other, plain, rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize("variant", ["paper", "official"])
def test_autocast_keeps_the_signs_that_are_not_close(variant):
    model, x = network(variant), images(8)
    with torch.no_grad():
        plain = model(x).codes
        with torch.autocast("cpu", torch.bfloat16):
            half = model(x).codes.float()
    # bfloat16 keeps 8 bits; a few roundings a layer leave the codes within some hundredths.
    assert (half - plain).abs().mean() <= 0.05 * plain.abs().mean() + 0.01
    clear = plain.abs() > 0.3
    assert clear.any() and torch.equal(half[clear] > 0, plain[clear] > 0)


@pytest.mark.parametrize("train", [pytest.param(False, marks=pytest.mark.slow), True])
def test_compiled_whole_equals_eager_with_gradients(train):
    model = network("official").train(train)
    results = []
    for compiled in (False, True):
        net = copy.deepcopy(model)
        run = torch.compile(net, backend="aot_eager", fullgraph=True) if compiled else net
        codes = run(images()).codes
        codes.square().sum().backward()
        results.append((codes.detach(), *(p.grad for p in net.parameters())))
    for eager, other in zip(*results, strict=True):
        torch.testing.assert_close(other, eager, rtol=1e-3, atol=1e-4)


@pytest.mark.slow
def test_compiled_by_inductor_equals_eager():
    model = network("official")
    compiled = torch.compile(model, fullgraph=True)
    with torch.no_grad():
        for ours, eager in zip(compiled(images()), model(images()), strict=True):
            torch.testing.assert_close(ours, eager, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("variant", ["paper", "official"])
def test_exported_network_keeps_the_operators_and_the_codes(variant):
    model = network(variant)
    program = torch.export.export(model, (images(),), strict=False)
    called = {str(node.target) for node in program.graph.nodes if node.op == "call_function"}
    assert "semicon_fast.icon_attention.default" in called
    assert "semicon_fast.sem_mask.default" in called
    with torch.no_grad():
        for ours, eager in zip(
            program.module()(images(seed=5)), model(images(seed=5)), strict=True
        ):
            torch.testing.assert_close(ours, eager, rtol=1e-4, atol=1e-5)


def test_exported_network_takes_any_batch():
    model = network()
    batch = torch.export.Dim("batch", min=2, max=64)
    program = torch.export.export(model, (images(3),), dynamic_shapes=({0: batch},), strict=False)
    with torch.no_grad():
        codes = program.module()(images(5, seed=5)).codes
    torch.testing.assert_close(codes, model(images(5, seed=5)).codes, rtol=1e-4, atol=1e-5)


def test_exported_network_comes_down_to_pytorchs_own_operators_by_the_reference():
    # What a runtime without these operators needs, ONNX's converters among them.
    model = network("official")
    own = torch.ops.semicon_fast
    plain = torch.export.export(model, (images(),), strict=False).run_decompositions(
        {
            own.icon_attention.default: reference.icon_attention,
            own.sem_mask.default: reference.sem_mask,
        }
    )
    assert not [n for n in plain.graph.nodes if "semicon_fast" in str(n.target)]
    with torch.no_grad():
        codes = plain.module()(images(seed=5)).codes
        torch.testing.assert_close(codes, model(images(seed=5)).codes, rtol=1e-4, atol=1e-5)
