"""Pictures are drawn, framed by right and wrong, and saved whole."""

import pytest
import torch
from PIL import Image

from semicon_fast import viz


def image(value, size=8):
    return torch.full((3, size, size), value, dtype=torch.uint8)


def grid(**options):
    hits = [[image(10), image(90)], [image(5, 12)]]
    return viz.retrieval_grid([image(0), image(255)], hits, [[0, 3], [7]], **options)


def test_a_grid_shows_distances_and_frames_right_and_wrong():
    figure = grid(relevant=[[True, False], [True]], query_names=["bird", "fish"], title="48 bits")
    titles = [axis.get_title() for axis in figure.axes]
    assert titles == ["bird", "d = 0 ✓", "d = 3 ✗", "fish", "d = 7 ✓", ""]
    frames = [axis.spines["left"] for axis in figure.axes[1:3]]
    assert [f.get_linestyle() for f in frames] == ["solid", "dashed"]
    assert frames[0].get_edgecolor() != frames[1].get_edgecolor()


def test_long_names_keep_both_ends_and_stay_in_their_column():
    figure = grid(query_names=["2a12baab-f020-42e3-8e6b-5d82e3ed0b55.jpg", "short.jpg"])
    titles = [figure.axes[i].get_title() for i in (0, 3)]
    assert titles == ["2a12baab…0b55.jpg", "short.jpg"]


def test_without_relevance_nothing_is_framed():
    assert not grid().axes[1].spines["left"].get_visible()


def test_a_grid_needs_as_many_rows_everywhere():
    with pytest.raises(ValueError, match="the same length, got 1, 0 and 0"):
        viz.retrieval_grid([image(0)], [], [])


def test_images_must_be_bytes():
    with pytest.raises(ValueError, match="uint8"):
        viz.retrieval_grid([image(0).float()], [[]], [[]])


@pytest.mark.parametrize("kind", ["png", "svg", "pdf"])
def test_a_picture_is_saved_in_the_format_of_its_name(tmp_path, kind):
    path = viz.save_figure(grid(), tmp_path / f"grid.{kind}")
    head = {"png": b"\x89PNG", "svg": b"<?xml", "pdf": b"%PDF"}[kind]
    assert path.read_bytes().startswith(head)
    if kind == "png":
        with Image.open(path) as picture:
            assert picture.width > 200


def test_another_ending_is_refused_before_anything_is_written(tmp_path):
    with pytest.raises(ValueError, match=r"must end in \.png, \.svg or \.pdf"):
        viz.save_figure(grid(), tmp_path / "grid.jpg")
    assert not list(tmp_path.iterdir())


def test_the_table_has_a_row_a_hit(tmp_path):
    picture = grid(relevant=[[True, False], [True]], query_names=["bird", "fish"],
                   hit_names=[["a.jpg", "b,c.jpg"], ["d.jpg"]])  # fmt: skip
    paths = viz.save_picture(picture, tmp_path, "grid", ("png", "svg"))
    assert [p.name for p in paths] == ["grid.png", "grid.svg", "grid.csv"]
    assert (tmp_path / "grid.csv").read_text().splitlines() == [
        "query,rank,hit,distance,relevant",
        "bird,1,a.jpg,0,True",
        'bird,2,"b,c.jpg",3,False',
        "fish,1,d.jpg,7,True",
    ]


def test_equal_pictures_are_equal_files(tmp_path):
    for name in "ab":
        for kind in viz.FORMATS:
            viz.save_figure(grid(), tmp_path / f"{name}.{kind}")
    for kind in viz.FORMATS:
        assert (tmp_path / f"a.{kind}").read_bytes() == (tmp_path / f"b.{kind}").read_bytes()


def test_an_unknown_format_is_refused_before_anything_is_written(tmp_path):
    with pytest.raises(ValueError, match="formats must be among png, svg, pdf, got 'gif'"):
        viz.save_picture(grid(), tmp_path, "grid", ("png", "gif"))
    assert not list(tmp_path.iterdir())
