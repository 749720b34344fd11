"""SEM: the maps, their variants, and what each of them may depend on."""

import pytest
import torch
import torch.nn.functional as F

from semicon_fast.layers import SEM, erase_mask


def features(batch=3, size=(4, 6), seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(batch, 64, *size, generator=generator)


def sem(parts=3, seed=0, **options):
    """A module whose maps are alive: heads biased so that the ReLU lets about half through."""
    with torch.random.fork_rng():
        torch.random.manual_seed(seed)
        module = SEM(64, parts, **options).eval()
    for i in range(parts):
        head = module.get_submodule(f"feature{i + 1}")
        head[1].bias.data.fill_(0.5)
    return module


def test_names_and_sizes_are_those_of_the_released_network():
    with torch.device("meta"):
        module = SEM(1024)
    assert sum(p.numel() for p in module.layer4.parameters()) == 1_471_296
    assert sum(p.numel() for p in module.feature2.parameters()) == 66
    assert len(module.state_dict()) == 84
    state = module.state_dict()
    assert state["layer4.1.0.weight"].shape == (256, 1024, 1, 1)
    assert state["layer4.3.0.weight"].shape == (64, 256, 1, 1)
    assert state["layer4.4.conv2.weight"].shape == (16, 16, 3, 3)
    assert state["feature3.0.weight"].shape == (1, 64, 1, 1)
    assert "feature1.0.bias" not in state and "layer4.0.downsample.0.weight" not in state


@pytest.mark.parametrize("parts", [1, 2, 5])
def test_one_map_a_part_and_none_negative(parts):
    module = sem(parts)
    module.feature1[1].bias.data.fill_(-0.2)
    maps = module(features())
    assert maps.shape == (3, parts, 4, 6)
    assert maps[:, 0].min() == 0 and maps[:, 0].max() > 0
    assert maps.min() >= 0


@pytest.mark.parametrize(("variant", "alpha"), [("paper", 0.3), ("official", 0.15)])
def test_maps_follow_the_recursion_of_the_paper(variant, alpha):
    module = sem(variant=variant)
    x = features()
    guidance = module.layer4(x)
    expected = []
    for i in range(3):
        expected.append(F.relu(module.get_submodule(f"feature{i + 1}")(guidance)))
        a = expected[-1].flatten(1).softmax(1)
        if variant == "paper":
            deviation, mean = torch.std_mean(a, dim=1, keepdim=True)
        else:
            deviation, mean = torch.std_mean(a)
        f = 1 - (a - mean) / deviation**alpha
        if variant == "official":
            f = f.clamp(0, 2)
        guidance = guidance * f.view(3, 1, 4, 6)
    torch.testing.assert_close(module(x), torch.cat(expected, 1), rtol=1e-4, atol=1e-5)


def test_alpha_can_be_chosen_and_has_the_default_of_its_variant():
    assert (SEM(64).alpha, SEM(64, variant="official").alpha) == (0.3, 0.15)
    assert SEM(64, alpha=0.0).alpha == 0.0
    assert not torch.allclose(sem(alpha=0.0)(features()), sem(alpha=1.0)(features()))


def test_maps_of_an_image_do_not_depend_on_its_batch_in_the_paper_variant():
    module, x = sem(), features(5)
    torch.testing.assert_close(module(x)[2:3], module(x[2:3]), rtol=1e-5, atol=1e-6)


def test_only_the_later_maps_depend_on_the_batch_in_the_official_variant():
    module, x = sem(variant="official", alpha=0.9), features(5)
    together, alone = module(x)[2:3], module(x[2:3])
    torch.testing.assert_close(together[:, :1], alone[:, :1], rtol=1e-5, atol=1e-6)
    for part in (1, 2):
        assert not torch.allclose(together[:, part], alone[:, part], rtol=1e-3, atol=1e-4)


def mask_gradient(**options):
    """Gradient of the second map with respect to the first map's own convolution."""
    module = sem(**options)
    module(features())[:, 1].square().sum().backward()
    return module.feature1[0].weight.grad


def test_gradient_passes_through_the_mask_in_the_paper_variant_only():
    assert mask_gradient().abs().max() > 0
    for options in ({"variant": "official"}, {"attention": "erase"}, {"attention": "none"}):
        grad = mask_gradient(**options)
        assert grad is None or not grad.any()


def test_dead_maps_leave_values_and_gradients_finite():
    for variant in ("paper", "official"):
        module = sem(variant=variant)
        module.feature1[1].bias.data.fill_(-100.0)
        maps = module(features())
        assert not maps[:, 0].any()
        maps.sum().backward()
        for parameter in module.parameters():
            assert parameter.grad is None or bool(torch.isfinite(parameter.grad).all())


def test_without_attention_every_map_reads_the_first_guidance():
    module, x = sem(attention="none"), features()
    guidance = module.layer4(x)
    for i in range(3):
        head = module.get_submodule(f"feature{i + 1}")
        torch.testing.assert_close(module(x)[:, i : i + 1], F.relu(head(guidance)))


def test_erasing_drops_cells_above_half_the_maximum_without_gradient():
    score = torch.tensor([[[[0.0, 1.0], [1.1, 2.0]]], [[[0.0, 0.0], [0.0, 0.0]]]])
    mask = erase_mask(score.requires_grad_())
    assert mask.flatten(1).tolist() == [[1, 1, 0, 0], [1, 1, 1, 1]]
    assert not mask.requires_grad
    module, x = sem(attention="erase"), features()
    guidance = module.layer4(x)
    guidance = guidance * erase_mask(module(x)[:, :1])
    torch.testing.assert_close(module(x)[:, 1:2], F.relu(module.feature2(guidance)))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"in_channels": 96}, "multiple of 64, got 96"),
        ({"in_channels": 64, "parts": 0}, "parts must be at least 1, got 0"),
        ({"in_channels": 64, "alpha": -0.5}, "alpha must be at least 0"),
        ({"in_channels": 64, "variant": "v2"}, "variant must be one of paper, official, got 'v2'"),
        ({"in_channels": 64, "attention": "x"}, "attention must be one of sem, erase, none"),
    ],
)
def test_bad_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        SEM(**arguments)
