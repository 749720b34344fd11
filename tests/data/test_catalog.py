"""Every way to hand over images lists the same images, and says what it cannot read."""

import io
import json
import os
import tarfile

import numpy as np
import pytest
import torch
from PIL import Image

from semicon_fast.data import BrokenImageError
from semicon_fast.data.catalog import Entry, list_images, locate
from semicon_fast.data.decode import decode
from semicon_fast.data.naming import FORMATS
from semicon_fast.data.passed_over import HIDDEN, NUMBERLESS, OTHER, SHARDS, PassedOver


def png(number):
    file = io.BytesIO()
    Image.fromarray(np.full((4, 5, 3), number, np.uint8)).save(file, "PNG")
    return file.getvalue()


def values(entries):
    return [int(entry.image()[0, 0, 0]) for entry in entries]


def write_tar(path, members):
    path.parent.mkdir(exist_ok=True)
    with tarfile.open(path, "w") as tar:
        for name, content in members:
            about = tarfile.TarInfo(name)
            about.size = len(content)
            tar.addfile(about, io.BytesIO(content))
    return path


@pytest.fixture
def folder(tmp_path):
    """Names whose order as text differs from that of their parts."""
    for number, name in enumerate(("a/2.png", "a b/1.PNG", "a/b/0.png", "c.png", "a.png")):
        path = tmp_path / "in" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(png(number))
    (tmp_path / "in" / "a" / "notes.md").write_text("no image")
    return tmp_path / "in"


def test_a_folder_is_walked_in_the_order_of_its_sorted_paths(folder):
    found = list(list_images([folder]))
    wanted = sorted(p for p in folder.rglob("*") if p.suffix.lower() == ".png")
    assert [entry.name for entry in found] == [str(path.resolve()) for path in wanted]
    assert [entry.label for entry in found] == ["a", "a", "a b", "in", "in"]
    assert sorted(values(found)) == [0, 1, 2, 3, 4]
    assert torch.equal(found[0].image(), decode(wanted[0]))


def test_a_list_names_files_below_its_folder_and_perhaps_labels(folder):
    (folder / "list.txt").write_text("a/2.png 3\n\na b/1.PNG\n")
    found = list(list_images([folder / "list.txt"]))
    assert values(found) == [0, 1] and [entry.label for entry in found] == ["3", "a b"]


def test_a_tar_file_gives_its_samples_with_their_labels(tmp_path):
    members = [
        ("0001.png", png(1)), ("0001.cls", b"7\n"), ("0001.json", b"{}"),
        ("0002.seg.cls", b"8"), ("0002.png", png(2)), ("robin/0003.png", png(3)),
        ("./0004.png", png(4)),
    ]  # fmt: skip
    shard = write_tar(tmp_path / "shard.tar", members)
    found = list(list_images([shard]))
    assert values(found) == [1, 2, 3, 4]
    assert [entry.label for entry in found] == ["7", "", "robin", ""]
    assert [entry.name for entry in found[2:]] == [f"{shard}/robin/0003.png", f"{shard}/0004.png"]
    assert list(list_images([tmp_path])) == found


@pytest.mark.parametrize("kind", ["bytes", "struct"])
def test_a_parquet_file_gives_its_rows(tmp_path, kind):
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    contents = [png(number) for number in range(5)]
    column = [{"bytes": c, "path": "x"} for c in contents] if kind == "struct" else contents
    about = {"info": {"features": {"label": {"names": ["wren", "robin"]}}}}
    table = pyarrow.table(
        {"id": list(range(5)), "image": column, "label": [0, 1, 1, None, 0]},
    ).replace_schema_metadata({"huggingface": json.dumps(about)})
    parquet.write_table(table, tmp_path / "rows.parquet", row_group_size=2)
    found = list(list_images([tmp_path / "rows.parquet"]))
    assert values(found) == [0, 1, 2, 3, 4] and values(found[::-1]) == [4, 3, 2, 1, 0]
    assert [entry.label for entry in found] == ["wren", "robin", "robin", "", "wren"]
    assert found[3].name.endswith("rows.parquet#3")


def test_a_parquet_file_must_say_which_column_holds_images(tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    for name, columns in (("two", {"a": [b"x"], "b": [b"y"]}), ("none", {"label": [1]})):
        parquet.write_table(pyarrow.table(columns), tmp_path / f"{name}.parquet")
        with pytest.raises(ValueError, match="must have one column of image bytes"):
            list(list_images([tmp_path / f"{name}.parquet"]))
    (tmp_path / "words.parquet").write_text("no parquet")
    with pytest.raises(ValueError, match="not a complete Parquet file"):
        list(list_images([tmp_path / "words.parquet"]))


def test_what_cannot_be_listed_is_named(tmp_path, folder):
    shard = write_tar(tmp_path / "cut.tar", [("1.png", png(1) * 40), ("2.png", png(2) * 40)])
    shard.write_bytes(shard.read_bytes()[:2000])
    (tmp_path / "empty").mkdir()
    (tmp_path / "packed.tar.gz").write_bytes(b"")
    for path, sentence in (
        (shard, "not a complete tar file"),
        (tmp_path / "empty", "no image below"),
        (tmp_path / "packed.tar.gz", "is compressed"),
        (tmp_path / "gone", "does not exist"),
    ):
        with pytest.raises(ValueError, match=sentence):
            list(list_images([folder, path]))


def test_broken_images_are_named_by_what_holds_them(tmp_path):
    shard = write_tar(tmp_path / "s.tar", [("1.png", b""), ("2.png", b"words")])
    for entry, cause in zip(list_images([shard]), ("empty", "not an image"), strict=True):
        with pytest.raises(BrokenImageError, match=cause) as caught:
            entry.image()
        assert caught.value.broken[0].path == entry.name
    shard.unlink()
    with pytest.raises(BrokenImageError, match="No such file"):
        entry.image()
    with pytest.raises(BrokenImageError, match="no such file"):
        Entry("x", "", str(tmp_path / "x.png")).image()


def test_a_list_without_labels_takes_the_folders_below_its_common_one(tmp_path):
    for name in ("cat/monday/0.png", "cat/1.png", "dog/2.png", "train/x/3.png"):
        (tmp_path / "photos" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "photos" / name).write_bytes(png(0))

    def labels(*lines):
        passed = PassedOver()
        (tmp_path / "list.txt").write_text("\n".join(lines))
        found = list(list_images([tmp_path / "list.txt"], passed))
        assert all(entry.image().shape == (3, 4, 5) for entry in found)
        return [entry.label for entry in found], dict(passed.notes)

    cats, dog = ["photos/cat/monday/0.png", "./photos/cat/1.png"], "photos/dog/2.png"
    assert labels(*cats, dog) == (["cat", "cat", "dog"], {})
    assert labels(*cats) == (["monday", "cat"], {})
    assert labels("photos/train/x/3.png", dog) == (["x", "dog"], {})
    assert labels(f"{cats[0]} 4", cats[1], dog) == (["4", "cat", "dog"], {NUMBERLESS: 2})
    assert labels(f"{cats[0]} -1", f"{dog} 0 1") == (["", "0 1"], {})
    (tmp_path / "list.txt").write_text("")
    with pytest.raises(ValueError, match="no image below .*list.txt"):
        list(list_images([tmp_path / "list.txt"]))


def test_a_folder_of_shards_says_what_it_passes_over(tmp_path):
    write_tar(tmp_path / "s" / "a.tar", [("1.png", png(1))])
    write_tar(tmp_path / "s" / ".b.tar", [("2.png", png(1))])
    (tmp_path / "s" / "notes.txt").write_text("x")
    passed = PassedOver()
    assert values(list_images([tmp_path / "s"], passed)) == [1]
    assert passed.to_dict() == {HIDDEN: 1, OTHER: 1}
    (tmp_path / "s" / "0.png").write_bytes(png(7))
    passed = PassedOver()
    assert values(list_images([tmp_path / "s"], passed)) == [7]
    assert passed.to_dict() == {HIDDEN: 1, OTHER: 1, SHARDS: 1}


def test_every_format_that_a_folder_gives_decodes_out_of_a_tar_file(tmp_path):
    members = []
    for suffix, kind in FORMATS.items():
        file = io.BytesIO()
        Image.new("1" if suffix == ".pbm" else "RGB", (8, 8), 1).save(file, kind)
        members.append((f"c/x{suffix.upper()}", file.getvalue()))
        (tmp_path / "c").mkdir(exist_ok=True)
        (tmp_path / "c" / f"x{suffix.upper()}").write_bytes(file.getvalue())
    shard = write_tar(tmp_path / "c.tar", members)
    inside = {entry.name.rsplit("/", 1)[1]: entry for entry in list_images([shard])}
    outside = {entry.name.rsplit("/", 1)[1]: entry for entry in list_images([tmp_path / "c"])}
    assert inside.keys() == outside.keys() and len(inside) == len(FORMATS)
    for name, entry in inside.items():
        assert torch.equal(entry.image(), outside[name].image()), name


LATIN1 = os.fsdecode(b"K\xf6nig")


def test_a_list_names_files_whose_names_end_in_numbers_or_are_not_utf8(tmp_path):
    names = ["shot 3", f"{LATIN1}.png", "line\u2028break.png", "wide\u3000", "x.png"]
    for number, name in enumerate(names):
        (tmp_path / name).write_bytes(png(number))
    lines = [*names[:-1], "x.png 7"]
    (tmp_path / "list.txt").write_bytes(os.fsencode("\n".join(lines)))
    found = list(list_images([tmp_path / "list.txt"]))
    assert [os.path.basename(entry.name) for entry in found] == names
    assert values(found) == [0, 1, 2, 3, 4]
    assert [entry.label for entry in found] == [tmp_path.name] * 4 + ["7"]


def test_a_list_that_is_not_text_is_refused(tmp_path):
    (tmp_path / "list.txt").write_bytes("x.png".encode("utf-16"))
    with pytest.raises(ValueError, match=r"list\.txt is not a text file in UTF-8"):
        list(list_images([tmp_path / "list.txt"]))


def test_labels_of_a_tar_file_are_kept_apart_byte_by_byte_and_of_any_length(tmp_path):
    labels = [b"K\xf6nig", b"K\xfcnig", b"l" * 200_000]
    members = [
        (f"{i}.{kind}", content)
        for i, label in enumerate(labels)
        for kind, content in (("png", png(i)), ("cls", label))
    ]
    found = list(list_images([write_tar(tmp_path / f"{LATIN1}.tar", members)]))
    assert [os.fsencode(entry.label) for entry in found] == labels
    assert values(found) == [0, 1, 2]


def test_a_parquet_file_may_have_a_name_that_is_not_utf8(tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    labels = ["[old]", "l" * 200_000, "nul \0", ""]
    table = pyarrow.table({"image": [png(i) for i in range(4)], "label": labels})
    parquet.write_table(table, tmp_path / "plain.parquet")
    file = (tmp_path / "plain.parquet").rename(tmp_path / f"{LATIN1}.parquet")
    found = list(list_images([file]))
    assert [entry.label for entry in found] == labels and values(found) == [0, 1, 2, 3]


def test_the_images_of_a_gallery_are_found_again_in_files_and_archives(tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    members = [(f"c/{i}.png", png(10 + i)) for i in range(3)]
    sources = [write_tar(tmp_path / name, members) for name in ("a.tar", "x.tar", "b.TAR")]
    table = pyarrow.table({"image": [png(20 + i) for i in range(3)], "label": ["a", "b", "c"]})
    parquet.write_table(table, tmp_path / "p.parquet", row_group_size=2)
    (tmp_path / "odd.tar").mkdir()
    (tmp_path / "odd.tar" / "7#1.png").write_bytes(png(7))
    sources += [tmp_path / "p.parquet", tmp_path / "odd.tar" / "7#1.png"]
    listed = list(list_images(sources))
    chosen = [listed[i] for i in (13 - 1, 9, 0, 11, 5, 8, 0)]
    found = locate([entry.name for entry in chosen])
    assert [entry.name for entry in found] == [entry.name for entry in chosen]
    assert values(found) == values(chosen) == [7, 20, 10, 22, 12, 12, 10]
    gone = locate([f"{tmp_path}/a.tar/c/9.png", f"{tmp_path}/p.parquet#3", f"{tmp_path}/0.png"])
    for entry in gone:
        with pytest.raises(BrokenImageError, match="there is no such file|Not a directory"):
            entry.image()
