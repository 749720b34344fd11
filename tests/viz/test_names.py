"""Names in figures: drawn as they are, whatever they hold, in every format."""

import csv
import os
import warnings
from xml.etree import ElementTree

import matplotlib as mpl
import pytest
import torch
from nasty_names import NAMES

from semicon_fast import viz
from semicon_fast.text import printable
from semicon_fast.viz import figure
from semicon_fast.viz.figure import drawable

IMAGE = torch.zeros(3, 8, 8, dtype=torch.uint8)
CURVE = ([0, 1], [1, 0.5])


def grid(names):
    one = [IMAGE] * len(names)
    return viz.retrieval_grid(
        one, [[IMAGE]] * len(names), [[0]] * len(names), query_names=names, title=names[-1]
    )


FIGURES = {
    "grid": grid,
    "maps": lambda names: viz.attention_figure([IMAGE], torch.rand(1, 1, 2, 2), names[:1]),
    "explanation": lambda names: viz.explanation_figure(
        (IMAGE, IMAGE), (None, None), {name: (1, 2) for name in names}, tuple(names[:2])
    ),
    "curves": lambda names: viz.precision_recall_figure({name: CURVE for name in names}),
    "lengths": lambda names: viz.code_length_figure({name: {12: 0.5} for name in names}, names[0]),
    "parts": lambda names: viz.parts_figure(*[{name: {name: 0.5} for name in names}] * 2),
    "outputs": lambda names: viz.output_histogram({name: [0.5] for name in names[:2]}),
}


def texts_of(svg):
    return [e.text or "" for e in ElementTree.parse(svg).iter() if e.tag.endswith("}text")]


@pytest.mark.filterwarnings("error:(?!no installed font)")
@pytest.mark.parametrize("kind", FIGURES)
def test_every_figure_takes_every_name(kind, tmp_path):
    names = [r"$\frac{ $", "x" * 200_000, os.fsdecode(b"K\xf6nig\n"), "\x1b[31m\ufffe"]
    for ending in ("svg", "png"):
        viz.save_figure(FIGURES[kind](names), tmp_path / f"f.{ending}")
    assert r"$\frac{ $" in " ".join(texts_of(tmp_path / "f.svg"))


def test_names_are_drawn_as_they_are(tmp_path):
    names = [*NAMES, r"\$5", "$", "_x"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        viz.save_figure(grid(names), tmp_path / "grid.svg")
    found = texts_of(tmp_path / "grid.svg")
    assert found == [drawn for name in names for drawn in (printable(name, 17), "d = 0")] + ["_x"]


def test_a_legend_has_every_name():
    legend = viz.precision_recall_figure({"_a": CURVE, "$b$": CURVE}).axes[0].get_legend()
    assert [text.get_text() for text in legend.get_texts()] == ["_a", r"\$b\$"]


@pytest.mark.parametrize("kind", ["png", "pdf"])
def test_characters_that_no_font_has_are_named_once(kind, tmp_path):
    with pytest.warns(UserWarning) as caught:
        viz.save_figure(grid(["\u732b", "\u732b\u306e", "x"]), tmp_path / f"grid.{kind}")
    if figure._fallback_fonts():
        pytest.skip("a font that has them is installed")
    [said] = [str(warning.message) for warning in caught]
    assert "has 2 of the characters" in said and "boxes: \u732b \u306e; install a font" in said


def test_another_font_draws_what_the_first_lacks(tmp_path, monkeypatch):
    monkeypatch.setattr(figure, "_fallback_fonts", lambda: ["DejaVu Sans"])
    with warnings.catch_warnings(), mpl.rc_context({"font.family": "cmtt10"}):
        warnings.simplefilter("error")
        viz.save_figure(grid(["\u0416"]), tmp_path / "grid.png")


def test_the_table_holds_the_exact_names(tmp_path):
    names = ["two\nlines\r", '=1, "q"', os.fsdecode(b"K\xf6nig")]
    viz.save_picture(grid(names), tmp_path, "grid", [])
    with open(
        tmp_path / "grid.csv", encoding="utf-8", errors="surrogateescape", newline=""
    ) as file:
        assert [row["query"] for row in csv.DictReader(file)] == names


def test_a_shortened_name_ends_in_no_half_of_an_escape():
    assert drawable("$" * 40) == r"\$" * 8 + "…" + r"\$" * 8
