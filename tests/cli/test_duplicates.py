"""`semicon-fast duplicates`: what it prints, the table of groups, and the page."""

import csv
import json

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from semicon_fast.cli import app
from semicon_fast.search.gallery import Gallery

# Images 0, 1 and 4 by single bits, 2 and 5 equal, 3 on its own.
CODES = np.array([[0, 0], [1, 0], [255, 255], [0x0F, 0x0F], [3, 0], [255, 255]], np.uint8)


@pytest.fixture
def gallery(tmp_path):
    """A gallery of five images that are there and one that is not, with a name that HTML means."""
    names = [str(tmp_path / f"{i}.png") for i in range(5)] + [str(tmp_path / "<b>gone</b>.png")]
    for i, name in enumerate(names[:5]):
        Image.new("RGB", (20, 10), (50 * i, 0, 0)).save(name)
    Gallery(CODES, 16, names, list("aabbcc")).save(tmp_path / "gallery")
    return tmp_path / "gallery"


def run(*arguments):
    done = CliRunner().invoke(app, ["duplicates", *map(str, arguments)])
    assert done.exit_code == 0, done.stderr
    return done.stdout


def test_groups_are_printed_written_and_shown(gallery, tmp_path):
    said = json.loads(run(gallery, "--radius", 1, "--csv", tmp_path / "groups.csv", "--json"))
    assert (said["images"], said["groups"], said["images_in_groups"]) == (6, 2, 5)
    assert [group["ids"] for group in said["largest"]] == [[0, 1, 4], [2, 5]]
    with open(tmp_path / "groups.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    found = [(r["group"], r["id"], r["label"], r["distance"]) for r in rows]
    assert found == [("0", "0", "a", "0"), ("0", "1", "a", "1"), ("0", "4", "c", "2"),
                     ("1", "2", "b", "0"), ("1", "5", "c", "0")]  # fmt: skip
    assert rows[0]["image"].endswith("0.png")
    html = (gallery / "duplicates.html").read_text("utf-8")
    assert html.count("data:image/jpeg") == 4 and html.count("<li>") == 5
    assert "3 images" in html and "2 images" in html and "d = 2" in html
    assert "<b>gone" not in html and "&lt;b&gt;gone" in html


def test_the_page_has_so_many_groups_and_says_what_it_leaves_out(gallery, tmp_path):
    said = run(gallery, "--radius", "1", "--groups", "1", "--report", tmp_path / "page.html")
    assert "5 of 6 images are in 2 groups" in " ".join(said.split())
    html = (tmp_path / "page.html").read_text("utf-8")
    assert "The largest 1 of 2 groups are shown." in html and html.count("<li>") == 3
    assert not (gallery / "duplicates.html").exists()


def test_a_radius_of_all_bits_is_one_group_and_none_are_said_to_be_none(gallery):
    assert json.loads(run(gallery, "--radius", 99, "--json"))["largest"][0]["size"] == 6
    Gallery(CODES[:4:3], 16, ["x", "y"]).save(gallery.parent / "other")
    assert "0 of 2 images are in 0 groups" in run(gallery.parent / "other", "--radius", 0)


def test_a_large_group_is_cut_short_on_the_page(tmp_path):
    Gallery(np.zeros((40, 1), np.uint8), 8, [f"{i}.png" for i in range(40)]).save(tmp_path / "g")
    run(tmp_path / "g")
    html = (tmp_path / "g" / "duplicates.html").read_text("utf-8")
    assert html.count("<li>") == 12 and "and 28 more" in html
