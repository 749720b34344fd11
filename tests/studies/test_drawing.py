"""Figures of studies: the values they show, and what their axes and legends say."""

import json
from types import SimpleNamespace

import pytest
import torch

from semicon_fast.codes import pack_codes
from semicon_fast.studies import catalog, charts, drawing, measured, pictures, plan
from semicon_fast.studies.study import Figure, Row, Study
from semicon_fast.training.sides import SIDES

LINES = Figure("lines", x="bits", line="method", panel="data")


def write(work, setup, side="encoded", repetition=0, **values):
    folder = plan.folder_of(work, repetition, setup)
    measured.write(folder, {"evaluation": {SIDES[side]: values}, "seed": 68})


def study_of(tiny, *figures, sides=("encoded", "encoded")):
    works = tiny.LEARNED, tiny.ENCODED
    rows = tuple(
        Row(f"r-{bits}", ("photos", bits, "A"), work, work, {"mAP": published}, side)
        for bits, work, published, side in zip(("8", "16"), works, (0.5, 0.25), sides, strict=True)
    )
    columns = ("data", "bits", "method")
    return Study("tiny", "t", "A paper, Table 9", "p", columns, rows, figures=figures)


def texts(picture):
    axis = picture.axes[0]
    legend = [text.get_text() for text in axis.get_legend().get_texts()]
    return axis.get_xlabel(), axis.get_ylabel(), axis.get_title(), legend


def test_lines_have_ours_with_their_spread_beside_the_published(tiny, tmp_path):
    setup = tiny.setup(tmp_path, seeds=2)
    write(tiny.LEARNED, setup, mAP=0.4)
    write(tiny.LEARNED, setup, repetition=1, mAP=0.6)
    (drawn,) = drawing.figures(study_of(tiny, LINES), setup)
    assert drawn.name == "figure-mAP-photos" and drawn.caption == "A paper, Table 9: mAP, photos"
    assert drawn.picture.table.rows == [
        ("A", "8", "published", 0.5, ""),
        ("A", "16", "published", 0.25, ""),
        ("A", "8", "ours", pytest.approx(0.5), pytest.approx(0.1)),
    ]
    x, y, title, legend = texts(drawn.picture)
    assert (x, y, title) == ("code length (bits)", "mAP\n(encoded database)", "photos")
    assert legend == ["A", "solid: measured", "hollow, dotted: published"]


def test_lines_of_other_data_call_the_published_so(tiny, tmp_path):
    setup = tiny.setup(tmp_path, settings=('data.name="list"',))
    (drawn,) = drawing.figures(study_of(tiny, LINES), setup)
    assert texts(drawn.picture)[3][-1].endswith("published, with other data or settings")


def test_sides_that_differ_are_said_of_each_row(tiny, tmp_path):
    study = study_of(tiny, Figure("dots"), sides=("learned", "encoded"))
    (drawn,) = drawing.figures(study, tiny.setup(tmp_path))
    rows = [label.get_text() for label in drawn.picture.axes[0].get_yticklabels()]
    assert rows == ["photos, 8, A (learned database codes)", "photos, 16, A (encoded database)"]
    assert drawn.picture.axes[0].get_xlabel() == "mAP"


def test_every_method_of_the_widest_table_has_a_style_of_its_own():
    rows = catalog.study_of("semicon-table1").rows
    lines = {row.labels[2] for row in rows}
    styles = {(s["color"], s["marker"]) for s in map(charts._style, range(len(lines)))}
    assert len(styles) == len(lines) == 8


def test_columns_of_numbers_are_at_their_values_and_others_one_by_one():
    assert charts._places(["12", "48", "12"]) == {"12": 12.0, "48": 48.0}
    assert charts._places(["0.1", "0.5"]) == {"0.1": 0.1, "0.5": 0.5}
    assert charts._places(["M1", "M1 + M2"]) == {"M1": 0.0, "M1 + M2": 1.0}


def test_the_loss_is_the_total_of_each_pass(tiny, tmp_path):
    study, setup = study_of(tiny, Figure("loss", line="bits")), tiny.setup(tmp_path)
    assert list(drawing.figures(study, setup)) == []
    folder = plan.folder_of(tiny.ENCODED, 0, setup)
    folder.mkdir(parents=True)
    events = [
        {"event": "start"},
        {"event": "epoch", "loss": {"pair": 2.0, "regulariser": 1.0, "total": 3.0}},
        {"event": "epoch", "loss": {"pair": 1.0, "regulariser": 1.0, "total": 2.0}},
    ]
    (folder / "log.jsonl").write_text("\n".join(map(json.dumps, events)))
    (drawn,) = drawing.figures(study, setup)
    assert drawn.picture.table.rows == [("16", 1, 3.0), ("16", 2, 2.0)]


def test_curves_and_parts_are_those_of_the_side(tiny, tmp_path):
    figures = Figure("curves", line="bits", panel="data"), Figure("parts", line="bits")
    study, setup = study_of(tiny, *figures), tiny.setup(tmp_path)
    parts = {"cumulative": {"global": 0.3, "global+part1": 0.4}, "alone": {"global": 0.3}}
    curve = {"recall": [0.5, 1.0], "precision": [1.0, 0.5]}
    write(tiny.ENCODED, setup, curve=curve, parts=parts | {"alone": {"global": 0.3, "part1": 0.2}})
    curves, by_parts = drawing.figures(study, setup)
    assert curves.picture.table.rows == [("16 bits", 0, 0.5, 1.0), ("16 bits", 1, 1.0, 0.5)]
    axis = curves.picture.axes[0]
    assert (axis.get_xlabel(), axis.get_ylabel()) == (
        "recall, photos", "precision\n(encoded database)",
    )  # fmt: skip
    assert by_parts.picture.table.rows[1] == ("16 bits", "global+part1", "cumulative", 0.4)


def test_cases_have_the_fewest_and_the_most_relevant_hits_of_different_classes():
    # Database: for each of three classes four images; queries near the classes as noted.
    centers = torch.tensor([[1, 1, 1, 1, 1, 1], [1, 1, 1, -1, -1, -1], [-1] * 6]).float()
    labels = torch.arange(3).repeat_interleave(4)
    near = [0, 0, 1, 1, 2]
    asked = torch.tensor([0, 1, 1, 1, 2])
    run = SimpleNamespace(
        bits=6,
        queries=pack_codes(centers[near]),
        database=pack_codes(centers[labels]),
        data=SimpleNamespace(
            query=SimpleNamespace(labels=asked), database=SimpleNamespace(labels=labels)
        ),
    )
    rows, right = pictures.cases(run, count=2, hits=4)
    # Query 1 is of class 1 among images of class 0: no hit. Of equal ones the first is taken.
    assert rows == [1, 0, 0, 2] and right == [0, 4, 4, 4]


def test_the_short_table_has_no_column_that_is_empty(tiny, tmp_path):
    study, setup = study_of(tiny), tiny.setup(tmp_path)
    write(tiny.ENCODED, setup, mAP=0.35)
    columns, rows = measured.short_table(study, setup, study.rows)
    assert columns == ["data", "bits", "method", "database codes", "mAP", "published", "difference"]
    assert rows[1] == ["photos", "16", "A", "encoded", "0.3500", "0.2500", "+0.1000"]
    other = tiny.setup(tmp_path, settings=('data.name="list"',))
    columns, rows = measured.short_table(study, other, study.rows, by_name=True)
    assert columns == ["row", "database codes", "mAP", "published"]
    assert rows[0] == ["r-8", "encoded", "", "0.5000"]
    assert [name for name, _ in measured.not_run(study, setup, {})] == ["r-8"]
