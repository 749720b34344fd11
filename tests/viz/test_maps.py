"""Maps lie where they are large; channels come from around ICON; a look leaves no trace."""

import pytest
import torch

import semicon_fast as sf
from semicon_fast import viz
from semicon_fast.data import build


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    model = sf.SEMICON(16, parts=2, backbone="tiny")
    model.preprocess = build("plain", 32, False).config()
    return model.eval()


def images(count, size=40):
    return list(torch.randint(0, 256, (count, 3, size, size), dtype=torch.uint8))


def test_an_overlay_is_warm_where_the_map_is_large_and_grey_elsewhere():
    image = torch.full((3, 40, 40), 100, dtype=torch.uint8)
    values = torch.zeros(4, 4)
    values[0, 3] = 5.0
    laid = viz.overlay(image, values)
    assert laid.dtype == torch.uint8 and laid.shape == image.shape
    assert (laid[:, 35, 5] == 100).all(), "no map, no colour"
    red, _, blue = laid[:, 3, 36].tolist()
    assert red > blue + 50
    assert (viz.overlay(image, torch.zeros(4, 4)) == 100).all(), "a map of zeros colours nothing"


@pytest.mark.parametrize(
    "image, values, words",
    [
        (torch.zeros(3, 4, 4), torch.zeros(2, 2), "uint8"),
        (torch.zeros(3, 4, 4, dtype=torch.uint8), torch.zeros(1, 2, 2), "floating"),
    ],
)
def test_what_is_no_map_is_refused(image, values, words):
    with pytest.raises(ValueError, match=words):
        viz.overlay(image, values)


def test_a_look_is_what_the_network_gives_and_changes_nothing(model):
    given = images(3)
    state = {name: value.clone() for name, value in model.state_dict().items()}
    model.train()
    found = viz.record_activations(model, given)
    assert model.training and not any(m._forward_hooks for m in model.modules())
    model.eval()
    assert all(torch.equal(v, state[name]) for name, v in model.state_dict().items())
    with torch.no_grad():
        wanted = model(build("plain", 32, False)(given))
    torch.testing.assert_close(found.outputs, wanted.codes)
    torch.testing.assert_close(found.maps, wanted.maps)
    assert found.before.shape == found.after.shape and found.before.shape[:2] == (3, 256)


def test_channels_are_those_around_the_first_icon_of_the_global_branch(model):
    given = images(2)
    batch = build("plain", 32, False)(given)
    block, icon = model.refine_global.layer4[:2]
    assert isinstance(icon, sf.ICON), "the tiny network has one after its first block"
    with torch.no_grad():
        before = block(model.backbone(batch))
        after = icon(before)
    found = viz.record_activations(model, given)
    torch.testing.assert_close(found.before, before)
    torch.testing.assert_close(found.after, after)


def test_what_the_network_sees_is_the_image_again(model):
    given = images(1, size=32)
    assert (viz.record_activations(model, given).seen[0].int() - given[0].int()).abs().max() <= 1


def test_networks_without_maps_or_icon_have_none():
    model = sf.SmallHashNet(8, width=8)
    model.preprocess = build("plain", 32, False).config()
    found = viz.record_activations(model.eval(), images(2))
    assert found.maps is None and found.before is None and found.outputs.shape == (2, 8)
    model.preprocess = None
    with pytest.raises(ValueError, match="does not say how its images were prepared"):
        viz.record_activations(model, images(1))


def test_figures_have_a_panel_a_map_and_a_row_a_cell(model):
    given = images(2)
    found = viz.record_activations(model, given)
    picture = viz.attention_figure(found.seen, found.maps, ["a", "b"])
    assert [axis.get_title() for axis in picture.axes] == ["a", "M1", "M2", "b", "", ""]
    cells = found.maps[0, 0].numel()
    assert len(picture.table.rows) == 2 * 2 * cells
    name, label, row, column, value = picture.table.rows[cells * 3 + 1]
    assert (name, label) == ("b", "M2") and value == float(found.maps[1, 1, row, column])
    picture = viz.channel_figure(found.seen, found.before, found.after, [3, 7], ["a", "b"])
    assert len(picture.axes) == 2 * 5
    name, when, channel, row, column, value = picture.table.rows[-1]
    assert (when, channel) == ("after", 7)
    assert value == float(found.after[1, 7, row, column])


def test_an_explanation_sums_to_the_distance(model):
    found = viz.record_activations(model, images(2))
    parts = {"global": (3, 8), "part1": (0, 4), "part2": (2, 4)}
    picture = viz.explanation_figure(tuple(found.seen), tuple(found.maps), parts)
    assert picture.table.rows[-1] == ("all", 5, 16)
    assert any("distance 5 of 16 bits" in axis.get_title() for axis in picture.axes)
    assert len(viz.explanation_figure(tuple(found.seen), (None, None), parts).axes) == 3


@pytest.mark.parametrize(
    "call, words",
    [
        (lambda f: viz.attention_figure(f.seen, f.maps[:1]), r"maps must be \(2, m, h, w\)"),
        (
            lambda f: viz.channel_figure(f.seen, f.before, f.after[:1], [0]),
            "before and after must have the same shape",
        ),
    ],
)
def test_figures_refuse_what_does_not_belong_together(model, call, words):
    with pytest.raises(ValueError, match=words):
        call(viz.record_activations(model, images(2)))


def test_earlier_names_still_work():
    assert viz.look is viz.record_activations and viz.Look is viz.Activations
