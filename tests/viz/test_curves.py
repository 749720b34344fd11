"""Curves, parts and histograms show the numbers that they are given, and their tables have them."""

import numpy as np
import pytest

from semicon_fast import viz


def lines_of(axis):
    return {line.get_label(): line.get_ydata() for line in axis.lines}


def test_curves_are_named_and_tabled():
    picture = viz.precision_recall_figure({"a": ([0, 1], [1, 0.5]), "b": ([0, 1], [1, 0.2])})
    assert [t.get_text() for t in picture.axes[0].get_legend().get_texts()] == ["a", "b"]
    assert picture.table.rows[-1] == ("b", 1, 1, 0.2)
    assert list(lines_of(picture.axes[0])["a"]) == [1, 0.5]


def test_lines_differ_without_colour():
    picture = viz.precision_recall_figure({n: ([0, 1], [1, 0]) for n in "abcd"})
    looks = {(line.get_linestyle(), line.get_marker()) for line in picture.axes[0].lines}
    colours = {line.get_color() for line in picture.axes[0].lines}
    assert len(looks) == 4 and len(colours) == 4


def test_code_lengths_are_in_order():
    picture = viz.code_length_figure({"DSH": {48: 0.5, 12: 0.7}, "ours": {24: 0.9}})
    axis = picture.axes[0]
    assert list(axis.lines[0].get_xdata()) == [12, 48] and list(axis.get_xticks()) == [12, 24, 48]
    assert picture.table.rows == [("DSH", 12, 0.7), ("DSH", 48, 0.5), ("ours", 24, 0.9)]


def test_parts_are_named_as_they_are_added():
    cumulative = {"symmetric": {"global": 0.4, "global+part1": 0.6}}
    alone = {"symmetric": {"global": 0.4, "part1": 0.3}}
    picture = viz.parts_figure(cumulative, alone)
    names = [[t.get_text() for t in axis.get_xticklabels()] for axis in picture.axes]
    assert names == [["global", "+ part1"], ["global", "part1"]]
    assert ("symmetric", "global+part1", "cumulative", 0.6) in picture.table.rows
    assert len(picture.table.rows) == 4


def test_a_histogram_counts_every_value():
    values = np.concatenate([np.full(30, -0.95), np.full(70, 0.95)])
    picture = viz.output_histogram({"global": values, "part1": values * 2}, bins=10)
    shares = {name: {} for name in ("global", "part1")}
    for name, low, high, share in picture.table.rows:
        shares[name][(low, high)] = share
    assert [sum(s.values()) for s in shares.values()] == pytest.approx([1, 1])
    assert [share for (low, high), share in shares["global"].items() if low < -0.95 < high] == [0.3]
    assert len(picture.axes) == 2 and "100 values" in picture.axes[0].get_title()
