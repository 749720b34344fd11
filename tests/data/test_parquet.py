"""Labels of the rows of Parquet files."""

import json

import pytest

from semicon_fast.data import BrokenImageError
from semicon_fast.data.catalog import list_images

pyarrow = pytest.importorskip("pyarrow")
from pyarrow import parquet  # noqa: E402

NAMES = ["ant", "bee", "wasp"]


def write(path, labels, names=NAMES, images=None):
    images = [b"x"] * len(labels) if images is None else images
    table = pyarrow.table({"image": images, "label": labels})
    if names:
        about = {"info": {"features": {"label": {"names": names}}}}
        table = table.replace_schema_metadata({"huggingface": json.dumps(about)})
    parquet.write_table(table, path, row_group_size=2)
    return path


def labels_of(*given):
    return [entry.label for entry in list_images([write(*given)])]


@pytest.mark.parametrize("kind", ["int8", "int64", "int32"])
def test_minus_1_and_null_are_no_label(tmp_path, kind):
    labels = pyarrow.array([-1, 0, 2, None], kind)
    assert labels_of(tmp_path / "x.parquet", labels) == ["", "ant", "wasp", ""]
    assert labels_of(tmp_path / "x.parquet", labels, None) == ["", "0", "2", ""]


@pytest.mark.parametrize("value", [3, -2])
def test_a_label_outside_the_class_names_is_refused(tmp_path, value):
    sentence = rf"x.parquet has the label {value} in row 3; .*3 class names, 0 to 2, or -1 for none"
    with pytest.raises(ValueError, match=sentence):
        labels_of(tmp_path / "x.parquet", [0, 1, 2, value])


def test_text_bool_and_dictionaries_are_labels(tmp_path):
    path = tmp_path / "x.parquet"
    assert labels_of(path, ["a", None, "-1"], None) == ["a", "", "-1"]
    assert labels_of(path, pyarrow.array(["a", "b"], "large_string")) == ["a", "b"]
    assert labels_of(path, [True, False, None]) == ["True", "False", ""]
    assert labels_of(path, pyarrow.array(["b", "a", "b"]).dictionary_encode()) == ["b", "a", "b"]
    assert labels_of(path, pyarrow.array([1, -1, 0]).dictionary_encode()) == ["bee", "", "ant"]
    assert labels_of(path, pyarrow.nulls(2)) == ["", ""]


@pytest.mark.parametrize(
    "labels", [[0.0, 1.0], [[0], [1, 2]], [b"a", b"b"], [{"a": 1}, {"a": 2}]],
    ids=["float", "list", "bytes", "struct"],
)  # fmt: skip
def test_labels_of_other_kinds_are_refused(tmp_path, labels):
    sentence = "labels in the column 'label' of .* must be integers, text or bool, got"
    with pytest.raises(ValueError, match=sentence):
        labels_of(tmp_path / "x.parquet", labels)


def test_a_row_without_an_image_is_broken_and_named(tmp_path):
    structs = [{"bytes": None, "path": "x.png"}, {"bytes": b"", "path": None}]
    path = write(tmp_path / "x.parquet", [0, 1], NAMES, structs)
    for entry, cause in zip(list_images([path]), ("no image", "empty"), strict=True):
        with pytest.raises(BrokenImageError, match=cause) as caught:
            entry.image()
        assert caught.value.broken[0].path == entry.name
