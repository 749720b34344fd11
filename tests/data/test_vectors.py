"""Feature vectors come out of every kind of file as they went in, block by block."""

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
import torch
from safetensors.torch import save_file

from semicon_fast.data.vector_files import Place, place
from semicon_fast.data.vectors import open_vectors, read_labels, read_names

RNG = np.random.default_rng(0)
FEATURES = RNG.standard_normal((23, 5)).astype(np.float32)
LABELS = [str(i % 3) for i in range(23)]


def write(path, **arrays):
    """A file of the kind that its suffix says, with arrays of these names."""
    kind = path.suffix
    if kind == ".npy":
        np.save(path, arrays["features"])
    elif kind == ".npz":
        np.savez(path, **arrays)
    elif kind == ".safetensors":
        save_file({k: torch.from_numpy(np.ascontiguousarray(v)) for k, v in arrays.items()}, path)
    else:
        columns = {k: list(v) for k, v in arrays.items()}
        pyarrow.parquet.write_table(pyarrow.table(columns), path, row_group_size=7)
    return path


@pytest.mark.parametrize("kind", [".npy", ".npz", ".safetensors", ".parquet"])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("rows", [1, 6, None])
def test_blocks_together_are_the_array(tmp_path, kind, dtype, rows):
    wanted = FEATURES.astype(dtype)
    found = open_vectors(write(tmp_path / f"x{kind}", features=wanted))
    assert found.shape == (23, 5) and found.names == [str(i) for i in range(23)]
    assert found.labels is None
    blocks = list(found.blocks(rows))
    assert {len(block) for block in blocks[:-1]} <= {rows or 23}
    for whole in (np.concatenate(blocks), found.array()):
        assert whole.dtype == dtype and np.array_equal(whole, wanted)


def test_files_are_mapped_and_not_read(tmp_path):
    np.save(tmp_path / "x.npy", FEATURES)
    np.savez(tmp_path / "x.npz", features=FEATURES)
    assert isinstance(open_vectors(tmp_path / "x.npy").array(), np.memmap)
    from semicon_fast.data.vector_arrays import npz_arrays

    mapped = npz_arrays(tmp_path / "x.npz")["features"]()
    assert isinstance(mapped, np.memmap) and np.array_equal(mapped, FEATURES)


def test_compressed_and_transposed_and_foreign_arrays_are_read(tmp_path):
    np.savez_compressed(tmp_path / "x.npz", features=FEATURES)
    np.savez(tmp_path / "f.npz", features=np.asfortranarray(FEATURES))
    np.save(tmp_path / "b.npy", FEATURES.astype(">f4"))
    for name in ("x.npz", "f.npz", "b.npy"):
        found = open_vectors(tmp_path / name)
        assert np.array_equal(found.array(), FEATURES) and found.array().dtype.isnative
        assert np.array_equal(np.concatenate(list(found.blocks(4))), FEATURES)


def test_bfloat16_of_safetensors_is_widened(tmp_path):
    values = torch.from_numpy(FEATURES).bfloat16()
    save_file({"embeddings": values}, tmp_path / "x.safetensors")
    assert np.array_equal(open_vectors(tmp_path / "x.safetensors").array(), values.float().numpy())


@pytest.mark.parametrize("kind", [".npz", ".safetensors", ".parquet"])
def test_the_usual_name_counts_and_any_other_can_be_given(tmp_path, kind):
    path = write(tmp_path / f"x{kind}", features=FEATURES, other=FEATURES * 2)
    assert np.array_equal(open_vectors(path).array(), FEATURES)
    assert np.array_equal(open_vectors(f"{path}:other").array(), FEATURES * 2)
    with pytest.raises(ValueError, match="has no 'othr'; did you mean other"):
        open_vectors(f"{path}:othr")
    two = write(tmp_path / f"two{kind}", left=FEATURES, right=FEATURES + 1)
    with pytest.raises(ValueError, match=r"or be given as two\..*:NAME.*among left, right"):
        open_vectors(two)
    one = write(tmp_path / f"one{kind}", left=FEATURES, number=np.arange(23))
    assert np.array_equal(open_vectors(one).array(), FEATURES)


def test_a_name_with_a_colon_is_a_file_where_there_is_one(tmp_path):
    np.savez(tmp_path / "a.npz:b.npz", features=FEATURES)
    np.savez(tmp_path / "a.npz", b=FEATURES * 2)
    assert place(tmp_path / "a.npz:b.npz") == Place(tmp_path / "a.npz:b.npz", None)
    assert place(f"{tmp_path}/a.npz:b") == Place(tmp_path / "a.npz", "b")


def test_names_and_labels_are_those_of_the_file(tmp_path):
    names = [f"{i}.jpg" for i in range(23)]
    np.savez(tmp_path / "x.npz", features=FEATURES, names=names, labels=np.arange(23) % 3 - 1)
    found = open_vectors(tmp_path / "x.npz")
    assert found.names == names and found.labels[:4] == ["", "0", "1", ""]
    write(tmp_path / "x.parquet", embedding=FEATURES, id=names, label=LABELS)
    found = open_vectors(tmp_path / "x.parquet")
    assert found.names == names and found.labels == LABELS
    numbers = np.arange(23) + 100
    write(tmp_path / "x.safetensors", features=FEATURES, ids=numbers, labels=np.arange(23) % 3)
    found = open_vectors(tmp_path / "x.safetensors")
    assert found.names == [str(n) for n in numbers] and found.labels == LABELS


def test_class_names_of_hugging_face_are_labels(tmp_path):
    import json

    about = {"info": {"features": {"label": {"names": ["ant", "bee"]}}}}
    table = pyarrow.table({"features": list(FEATURES[:3]), "label": [1, -1, 0]})
    table = table.replace_schema_metadata({"huggingface": json.dumps(about)})
    pyarrow.parquet.write_table(table, tmp_path / "x.parquet")
    assert open_vectors(tmp_path / "x.parquet").labels == ["bee", "", "ant"]


def test_fixed_size_lists_are_vectors_too(tmp_path):
    flat = pyarrow.array(FEATURES.ravel())
    column = pyarrow.FixedSizeListArray.from_arrays(flat, 5)
    pyarrow.parquet.write_table(pyarrow.table({"v": column}), tmp_path / "x.parquet")
    assert np.array_equal(open_vectors(tmp_path / "x.parquet").array(), FEATURES)


def test_no_rows_are_no_error(tmp_path):
    for kind in (".npy", ".npz", ".safetensors"):
        found = open_vectors(write(tmp_path / f"x{kind}", features=FEATURES[:0]))
        assert found.shape == (0, 5) and found.array().shape == (0, 5) and not list(found.blocks())


BAD = FEATURES.copy()
BAD[17, 2] = np.nan


@pytest.mark.parametrize("kind", [".npy", ".npz", ".safetensors", ".parquet"])
@pytest.mark.parametrize(
    "values, sentence",
    [
        (BAD, r"row 17 of .* holds NaN or infinity"),
        (np.arange(46).reshape(23, 2), "must be floating point, got int64"),
        (FEATURES[0], r"must (be \(N, F\)|hold).*"),
    ],
)
def test_what_is_no_matrix_of_numbers_is_named(tmp_path, kind, values, sentence):
    path = write(tmp_path / f"x{kind}", features=values)
    with pytest.raises(ValueError, match=sentence) as error:
        open_vectors(path).array()
    assert str(path) in str(error.value)


def test_ragged_and_missing_lists_are_named_with_their_row(tmp_path):
    rows = [[1.0, 2.0]] * 9 + [[1.0]]
    pyarrow.parquet.write_table(pyarrow.table({"v": rows}), tmp_path / "r.parquet")
    with pytest.raises(ValueError, match="equally long; row 9 has 1 values, row 0 has 2"):
        open_vectors(tmp_path / "r.parquet").array()
    pyarrow.parquet.write_table(pyarrow.table({"v": rows[:3] + [None]}), tmp_path / "n.parquet")
    with pytest.raises(ValueError, match="row 3 has none"):
        open_vectors(tmp_path / "n.parquet").array()
    holes = [[1.0, 2.0], [1.0, None]]
    pyarrow.parquet.write_table(pyarrow.table({"v": holes}), tmp_path / "h.parquet")
    with pytest.raises(ValueError, match="row 1 of .* has a value that is missing"):
        open_vectors(tmp_path / "h.parquet").array()


def test_other_numbers_of_names_and_labels_are_refused(tmp_path):
    np.savez(tmp_path / "x.npz", features=FEATURES, labels=np.arange(22))
    with pytest.raises(ValueError, match="labels must be 23, one a row of .*, got 22"):
        open_vectors(tmp_path / "x.npz")


@pytest.mark.parametrize("kind", [".npy", ".npz", ".safetensors", ".parquet"])
def test_damaged_files_are_one_sentence(tmp_path, kind):
    path = write(tmp_path / f"x{kind}", features=FEATURES)
    content = path.read_bytes()
    for damaged in (b"", b"junk" * 40, content[: len(content) // 2]):
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match=f"x.*{kind[1:]}"):
            open_vectors(path).array()


def test_pickled_arrays_are_refused(tmp_path):
    np.save(tmp_path / "x.npy", np.array([[1.0, {}]], object), allow_pickle=True)
    np.savez(tmp_path / "x.npz", features=np.array([[1.0, {}]], object))
    for name in ("x.npy", "x.npz"):
        with pytest.raises(ValueError, match="not a readable .*(Python objects|Object arrays)"):
            open_vectors(tmp_path / name).array()


@pytest.mark.parametrize(
    "given, sentence",
    [
        ("nowhere.npy", "nowhere.npy does not exist"),
        ("nowhere.npz:x", "nowhere.npz does not exist"),
        ("folder.npy", "is a folder"),
        ("x.csv", "must be a file of vectors, .npy, .npz, .parquet, .safetensors"),
        ("x.npy:name", "x.npy:name names an array, but .* holds one without a name"),
    ],
)
def test_a_place_that_is_none_is_named(tmp_path, given, sentence):
    (tmp_path / "folder.npy").mkdir()
    (tmp_path / "x.csv").write_text("1,2")
    np.save(tmp_path / "x.npy", FEATURES)
    with pytest.raises(ValueError, match=sentence):
        place(tmp_path / given)


def test_a_name_of_minus_one_is_a_name(tmp_path):
    (tmp_path / "n.txt").write_text("-1\nb\n")
    assert read_names(tmp_path / "n.txt") == ["-1", "b"]
    np.save(tmp_path / "n.npy", np.array([-1, 7]))
    assert read_names(tmp_path / "n.npy") == ["-1", "7"]
    np.savez(tmp_path / "f.npz", features=FEATURES[:2], ids=[-1, 7], labels=[-1, 7])
    found = open_vectors(tmp_path / "f.npz")
    assert (found.names, found.labels) == (["-1", "7"], ["", "7"])


def test_labels_are_read_from_lines_and_arrays(tmp_path):
    (tmp_path / "l.txt").write_text("cat\n\n dog house \n-1\n")
    assert read_labels(tmp_path / "l.txt") == ["cat", "", "dog house", ""]
    np.save(tmp_path / "l.npy", np.array([3, -1, 0]))
    assert read_labels(tmp_path / "l.npy") == ["3", "", "0"]
    np.save(tmp_path / "m.npy", np.array([[True, False], [False, False]]))
    assert read_labels(tmp_path / "m.npy") == ["1 0", "0 0"]
    np.savez(tmp_path / "l.npz", labels=["a", "b"], others=[1, 2])
    assert read_labels(tmp_path / "l.npz") == ["a", "b"]
    assert read_labels(f"{tmp_path}/l.npz:others") == ["1", "2"]
    np.save(tmp_path / "f.npy", np.zeros(3))
    with pytest.raises(
        ValueError, match=r"integers or texts \(N,\), or bool \(N, C\), got float64"
    ):
        read_labels(tmp_path / "f.npy")
