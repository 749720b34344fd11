"""ImageNet weights: where they go, what stays random, what is refused. Nothing is downloaded."""

import pytest
import torch
import torchvision
from safetensors.torch import save_file

from semicon_fast.models import SEMICON, BackboneHash, weights
from semicon_fast.models.backbones import BACKBONES, Trunk, block_slots, icon_heads


def images(size=64):
    return torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def donor():
    """A torchvision ResNet-18 with random weights and BatchNorm statistics."""
    with torch.random.fork_rng():
        torch.random.manual_seed(0)
        model = torchvision.models.resnet18(weights=None).eval()
        for name, value in model.state_dict().items():
            if name.endswith(("running_mean", "running_var")):
                value.uniform_(0.5, 1.5)
    return model


@pytest.fixture(scope="module")
def path(donor, tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "resnet18.pth"
    torch.save(donor.state_dict(), path)
    return path


def test_the_loaded_vanilla_network_computes_torchvisions_features(donor, path):
    model = BackboneHash(12, backbone="resnet18", weights=path).eval()
    donor.fc = torch.nn.Identity()
    torch.testing.assert_close(model(images()).features, donor(images()))


def test_both_stages_of_the_paper_variant_are_loaded_around_icon(donor, path):
    model = SEMICON(12, backbone="resnet18", weights=str(path))
    for stage in (model.refine_global, model.refine_local):
        for block, slot in ((0, "0"), (1, "2")):
            ours = stage.layer4.get_submodule(slot).state_dict()
            theirs = donor.layer4[block].state_dict()
            assert all(torch.equal(ours[name], value) for name, value in theirs.items())
    assert torch.equal(model.backbone.conv1.weight, donor.conv1.weight)


def test_the_official_variant_leaves_the_last_block_random_as_released(donor, path):
    model = SEMICON(12, backbone="resnet18", weights=path, variant="official")
    for stage in (model.refine_global, model.refine_local):
        assert torch.equal(stage.layer4[0].conv1.weight, donor.layer4[0].conv1.weight)
        last = stage.layer4.get_submodule("2")
        assert not torch.equal(last.conv1.weight, donor.layer4[1].conv1.weight)
        assert not last.bn1.running_mean.any()
    bare = SEMICON(12, backbone="resnet18", weights=path, variant="official", icon="none")
    last = bare.refine_local.layer4.get_submodule("2")
    assert torch.equal(last.conv1.weight, donor.layer4[1].conv1.weight)


def test_resnet50_keeps_its_names_and_third_block():
    with torch.device("meta"):
        donor = torchvision.models.resnet50(weights=None).state_dict()
        ours = SEMICON(48).state_dict()
    trunk = {n: v.shape for n, v in donor.items() if not n.startswith(("layer4.", "fc."))}
    assert {n[9:]: v.shape for n, v in ours.items() if n.startswith("backbone.")} == trunk
    for block, slot in zip(range(3), block_slots(3), strict=True):
        for name, value in donor.items():
            if name.startswith(f"layer4.{block}."):
                renamed = name.replace(f"layer4.{block}.", f"refine_local.layer4.{slot}.")
                assert ours[renamed].shape == value.shape


def test_official_resnet50_loads_two_blocks_of_three(tmp_path):
    # The shapes of ResNet-50 with one number in every entry, to see where each block came from.
    with torch.device("meta"):
        shapes = torchvision.models.resnet50(weights=None).state_dict()
    state = {
        name: torch.zeros(()).expand(value.shape)
        if not name.startswith("layer4.")
        else torch.full((), float(name.split(".")[1]) + 5).expand(value.shape)
        for name, value in shapes.items()
    }
    for variant, loaded in (("paper", [5, 6, 7]), ("official", [5, 6, None])):
        stage = weights.Stage4("resnet50", "one-step", variant)
        weights.load_stage4(stage, "resnet50", state, by_number=variant == "official")
        for slot, value in zip((0, 1, 3), loaded, strict=True):
            found = stage.layer4.get_submodule(str(slot)).conv2.weight
            assert bool((found == value).all()) if value else found.std() > 0


def test_slots_and_heads():
    assert block_slots(3) == [0, 1, 3] and block_slots(2) == [0, 2]
    assert [icon_heads(c) for c in (256, 512, 1024, 2048, 4096)] == [16, 16, 16, 32, 64]


def test_a_safetensors_file_works_too(donor, tmp_path):
    path = tmp_path / "resnet18.safetensors"
    save_file({n: v.contiguous() for n, v in donor.state_dict().items()}, path)
    model = BackboneHash(12, backbone="resnet18", weights=path)
    assert torch.equal(model.backbone.bn1.running_var, donor.bn1.running_var)


@pytest.mark.parametrize(
    "name",
    ["DEFAULT", "IMAGENET1K_V1", "ResNet18_Weights.DEFAULT",
     torchvision.models.ResNet18_Weights.IMAGENET1K_V1],
)  # fmt: skip
def test_published_weights_are_found_by_name_or_enum(donor, name, monkeypatch):
    asked = []

    def state(self, *args, **kwargs):
        asked.append(self)
        return donor.state_dict()

    monkeypatch.setattr(torchvision.models.WeightsEnum, "get_state_dict", state)
    model = BackboneHash(12, backbone="resnet18", weights=name)
    assert asked == [torchvision.models.ResNet18_Weights.IMAGENET1K_V1]
    assert torch.equal(model.backbone.conv1.weight, donor.conv1.weight)


@pytest.mark.parametrize(
    ("backbone", "given", "message"),
    [
        (
            "resnet18",
            "IMAGENET1K_V9",
            "a path or one of IMAGENET1K_V1, DEFAULT, got 'IMAGENET1K_V9",
        ),
        ("resnet18", torchvision.models.ResNet50_Weights.DEFAULT, "backbone 'resnet18' must be"),
        ("resnet18", "ResNet50_Weights.DEFAULT", "backbone 'resnet18' must be"),
        ("tiny", "DEFAULT", "no published weights"),
    ],
)
def test_weights_of_another_network_are_refused(backbone, given, message):
    with pytest.raises(ValueError, match=message):
        BackboneHash(12, backbone=backbone, weights=given)


def test_missing_files_and_unfit_entries_are_named(donor, path, tmp_path):
    with pytest.raises(FileNotFoundError, match="nothing.pth is not a file"):
        BackboneHash(12, backbone="resnet18", weights=tmp_path / "nothing.pth")
    with pytest.raises(ValueError, match=r"do not fit the backbone: no layer1\.2\.conv1\.weight"):
        BackboneHash(12, backbone="resnet34", weights=path)
    state = dict(donor.state_dict())
    del state["layer4.0.conv2.weight"]
    torch.save(state, tmp_path / "holed.pth")
    with pytest.raises(ValueError, match=r"no layer4\.0\.conv2\.weight"):
        BackboneHash(12, backbone="resnet18", weights=tmp_path / "holed.pth")


def test_tiny_trunk_keeps_an_eighth_of_the_side():
    trunk = Trunk("tiny").eval()
    for size, cells in ((32, 4), (64, 8), (96, 12)):
        assert trunk(torch.zeros(1, 3, size, size)).shape == (1, 128, cells, cells)
    assert BACKBONES["tiny"].channels(4) == 256


@pytest.mark.parametrize("home", ["/dev/null/torch", None], ids=["unwritable", "unreachable"])
def test_weights_that_cannot_be_downloaded_name_the_folder_and_a_way_out(
    home, tmp_path, monkeypatch
):
    monkeypatch.setenv("TORCH_HOME", home or str(tmp_path))
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    monkeypatch.setattr(torch.hub, "_hub_dir", None)
    with pytest.raises(OSError, match="DEFAULT of resnet18 are neither in .*TORCH_HOME.*a file"):
        weights.pretrained("resnet18", "DEFAULT")
