"""Tables of what was measured, against values worked out by hand."""

import json
from typing import get_args

import pytest

from semicon_fast.studies import measured, output, saved
from semicon_fast.studies.plan import folder_of
from semicon_fast.studies.study import Side
from semicon_fast.training.sides import ASYMMETRIC, SIDES, SYMMETRIC

COLUMNS = ["row", "data", "method", "database codes", "mAP", "mAP spread", "mAP published",
           "mAP difference", "seeds", "state"]  # fmt: skip


def measure(work, setup, repetition, **values):
    """Write what was measured: way -> mAP."""
    names = {"learned": ASYMMETRIC, "encoded": SYMMETRIC}
    evaluation = {names[side]: {"mAP": value} for side, value in values.items()}
    measured.write(folder_of(work, repetition, setup), {"evaluation": evaluation, "seed": 68})


def test_rows_name_the_sides_that_results_have():
    assert set(get_args(Side)) == set(SIDES)


def test_mean_spread_and_difference_are_those_of_the_seeds(tiny, tmp_path):
    study, setup = tiny.register(), tiny.setup(tmp_path, seeds=2)
    measure(tiny.LEARNED, setup, 0, learned=0.5, encoded=0.1)
    measure(tiny.LEARNED, setup, 1, learned=0.7, encoded=0.2)
    measure(tiny.ENCODED, setup, 0, encoded=0.3)
    columns, (a, b) = measured.table(study, setup, {})
    assert columns == COLUMNS
    # Mean of .5 and .7 with population deviation .1, beside the paper's .5.
    assert a[4:8] == [pytest.approx(0.6), pytest.approx(0.1), 0.5, pytest.approx(0.1)]
    assert a[8:] == [2, ""]
    assert b[4:8] == [0.3, None, 0.25, pytest.approx(0.05)] and b[8] == 1
    command = f"semicon-fast study run tiny -o {tmp_path} --root {tiny.photos} --seeds 2"
    assert b[9] == f"to run: {command} --only b-8"


def test_a_row_that_was_not_run_is_empty_with_its_command(tiny, tmp_path):
    study, setup = tiny.register(), tiny.setup(tmp_path)
    _, (a, b) = measured.table(study, setup, {"b-8": "the disk is full"})
    assert a[4:8] == [None, None, 0.5, None] and a[8] == 0
    assert a[9].startswith("to run: ") and b[9] == "failed: the disk is full"


def test_a_side_that_a_method_does_not_have_is_named(tiny, tmp_path):
    study, setup = tiny.register(), tiny.setup(tmp_path)
    measure(tiny.LEARNED, setup, 0, encoded=0.1)
    _, (a, _) = measured.table(study, setup, {})
    assert a[4] is None and a[9] == "this method has no asymmetric (learned database codes)"


def test_values_of_other_data_have_no_difference(tiny, tmp_path):
    study = tiny.register()
    setup = tiny.setup(tmp_path, settings=('data.name="birdlets"',))
    measure(tiny.LEARNED, setup, 0, learned=0.5)
    _, (a, _) = measured.table(study, setup, {})
    assert a[1] != "paper's data" and a[4] == 0.5 and a[7] is None


def test_show_draws_again_what_is_there(tiny, tmp_path):
    study, setup = tiny.register(), tiny.setup(tmp_path, seeds=2)
    measure(tiny.LEARNED, setup, 0, learned=0.5)
    # Curves are drawn of what was measured, which here has none.
    study = tiny.register(figures=study.figures[:1])
    output.write(study, setup, {})
    before = {p.name: p.read_bytes() for p in (tmp_path / "tiny").iterdir()}
    measure(tiny.LEARNED, setup, 1, learned=0.7)
    (page,) = output.show(tmp_path)
    assert page == tmp_path / "tiny" / "index.html"
    after = {p.name: p.read_bytes() for p in (tmp_path / "tiny").iterdir()}
    assert set(after) == set(before) and b"0.6000" in after["table.csv"]
    assert b"0.6000" not in before["table.csv"]
    assert after["study.json"] == before["study.json"]


def test_show_of_an_empty_folder_says_what_to_run(tmp_path):
    with pytest.raises(ValueError, match="has no study; run one with: semicon-fast study run NAME"):
        output.show(tmp_path)
    with pytest.raises(ValueError, match="has no study"):
        output.show(tmp_path / "nowhere")


@pytest.mark.parametrize("content", ["", "{", "[]", '{"format": 1}', '{"format": 2}'])
def test_damaged_files_are_named(tiny, tmp_path, content):
    setup = tiny.setup(tmp_path)
    folder = folder_of(tiny.LEARNED, 0, setup)
    folder.mkdir(parents=True)
    (folder / "measured.json").write_text(content)
    if content != '{"format": 1}':
        with pytest.raises(ValueError, match="measured.json is damaged: .*delete it to measure"):
            measured.read(folder)
    (tmp_path / "tiny").mkdir()
    (tmp_path / "tiny" / saved.SETUP).write_text(content)
    with pytest.raises(ValueError, match="study.json is damaged"):
        output.show(tmp_path)


def test_a_study_of_a_later_version_is_named(tiny, tmp_path):
    study, setup = tiny.register(), tiny.setup(tmp_path)
    text = json.loads(saved.text_of(study, setup, {})) | {"study": "of-the-future"}
    (tmp_path / "tiny").mkdir()
    (tmp_path / "tiny" / saved.SETUP).write_text(json.dumps(text))
    with pytest.raises(ValueError, match="study 'of-the-future' does not exist"):
        output.show(tmp_path)
