"""What a folder holds: images, labels, links, hidden files, and counts of what is passed over."""

import inspect
import os
import sys

import pytest
from PIL import Image

from semicon_fast.data import listing, naming, passed_over
from semicon_fast.data.catalog import list_images
from semicon_fast.data.decode import LISTED_FORMATS, decode, decode_bytes
from semicon_fast.data.passed_over import PassedOver


def put(root, *names):
    """Empty files, with the folders that they need."""
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"")


def link(root, name, target):
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    os.symlink(target, root / name)


def listed(root, **options):
    """({path: label}, counts); encoding must list the same files with the same labels."""
    passed, again = PassedOver(), PassedOver()
    found = list(listing.images(root, passed, **options))
    if found and not options:
        entries = [(entry.name, entry.label) for entry in list_images([root], again)]
        assert entries == [(image.file, image.label) for image in found]
        assert again.to_dict() == passed.to_dict()
    assert len({image.path for image in found}) == len(found)
    return {image.path: image.label for image in found}, passed.to_dict()


def test_every_suffix_is_an_image_in_any_case_and_decodes_from_file_and_from_bytes(tmp_path):
    for suffix, kind in naming.FORMATS.items():
        mode = "1" if suffix == ".pbm" else "L" if suffix == ".pgm" else "RGB"
        path = tmp_path / "c" / f"x{suffix.upper() if len(suffix) == 5 else suffix}"
        path.parent.mkdir(exist_ok=True)
        Image.new(mode, (8, 8), 1).save(path, kind)
        assert decode(path).equal(decode_bytes(path.read_bytes(), formats=LISTED_FORMATS))
    found, counts = listed(tmp_path)
    assert len(found) == len(naming.FORMATS) and set(found.values()) == {"c"} and counts == {}
    assert {".jpe", ".jfif", ".avif", ".pbm", ".pnm", ".jp2", ".mpo", ".tga"} <= set(naming.FORMATS)


def test_hidden_files_are_passed_over_at_any_depth_but_not_above_the_root(tmp_path):
    root = tmp_path / ".cache" / "photos"
    put(root, "cat/0.png", "cat/._0.png", "cat/.DS_Store", ".git/x.png", "__MACOSX/cat/._0.png")
    put(root, "cat/day/.hidden/1.png", "cat/@eaDir/0.png", "cat/Thumbs.db", "cat/...png")
    assert listed(root) == (
        {"cat/0.png": "cat"},
        {passed_over.HIDDEN: 7, passed_over.OTHER: 1},
    )


def test_the_label_is_the_first_folder_below_the_root(tmp_path, monkeypatch):
    root = tmp_path / "photos"
    put(root, "cat/monday/0.png", "cat/1.png", "dog/a/b/c/0.png", "loose.png")
    found, _ = listed(root)
    assert found == {
        "cat/1.png": "cat", "cat/monday/0.png": "cat", "dog/a/b/c/0.png": "dog",
        "loose.png": "photos",
    }  # fmt: skip
    assert listed(root / "cat")[0] == {"1.png": "cat", "monday/0.png": "monday"}
    monkeypatch.chdir(root / "cat")
    assert listed(".")[0] == {"1.png": "cat", "monday/0.png": "monday"}
    assert [entry.label for entry in list_images(["1.png", "monday/../1.png"])] == ["cat", "cat"]


@pytest.mark.parametrize("part", ["test", "validation", "val", "valid"])
def test_below_a_split_the_label_is_the_folder_below_train_and_test(tmp_path, part):
    put(tmp_path, "train/cat/day/0.png", f"{part}/dog/1.png", "train/2.png", "extra/deep/3.png")
    found, counts = listed(tmp_path)
    assert found == {
        "train/cat/day/0.png": "cat", f"{part}/dog/1.png": "dog", "train/2.png": "train",
        "extra/deep/3.png": "extra",
    }  # fmt: skip
    assert counts == {}


def test_a_class_may_be_called_train(tmp_path):
    put(tmp_path, "train/0.png", "car/1.png", "test/2.png")
    assert sorted(listed(tmp_path)[0].values()) == ["car", "test", "train"]


def test_links_to_folders_are_followed_once_and_loops_not_at_all(tmp_path):
    root, away = tmp_path / "photos", tmp_path / "away"
    put(root, "cat/0.png", "zebra/1.png")
    put(away, "2.png", "inner/3.png")
    link(root, "cat/latest", ".")  # a loop
    link(root, "cat/up", "../..")  # above the root, with all that lies beside it
    link(root, "a-cat", "cat")  # sorts before the real folder
    link(root, "dog", away)
    link(root, "owl", away)
    link(root, "b-inner", away / "inner")
    link(away, "back", root)
    link(away, "me", ".")
    found, counts = listed(root)
    assert found == {
        "cat/0.png": "cat", "zebra/1.png": "zebra", "b-inner/3.png": "b-inner", "dog/2.png": "dog",
    }  # fmt: skip
    # a-cat, owl, inner below dog; and latest, up, back, me.
    assert counts == {passed_over.LINKED_FOLDERS: 3, passed_over.LOOPS: 4}


def test_links_that_lead_to_each_other_end(tmp_path):
    put(tmp_path / "a", "0.png")
    put(tmp_path / "b", "1.png")
    put(tmp_path / "root", "x/2.png")
    link(tmp_path, "a/b", tmp_path / "b")
    link(tmp_path, "b/a", tmp_path / "a")
    link(tmp_path, "root/x/a", tmp_path / "a")
    link(tmp_path, "root/self", "self")
    found, counts = listed(tmp_path / "root")
    assert found == {"x/2.png": "x", "x/a/0.png": "x", "x/a/b/1.png": "x"}
    assert counts == {passed_over.LINKED_FOLDERS: 1, passed_over.DANGLING: 1}


def test_links_to_images_are_listed_only_if_their_target_is_not(tmp_path):
    root, away = tmp_path / "photos", tmp_path / "away"
    put(root, "cat/0.png", ".blobs/sha256", "cat/note.txt")
    put(away, "1.png", "object")
    link(root, "cat/again.png", "0.png")
    link(root, "dog/other.png", "../cat/0.png")
    link(root, "cat/annexed.png", away / "object")
    link(root, "cat/cached.jpg", "../.blobs/sha256")
    link(root, "dog/chain.png", "../cat/annexed.png")
    link(root, "cat/gone.png", "nothing")
    link(root, "cat/text.png", "note.txt")
    found, counts = listed(root)
    assert found == {
        "cat/0.png": "cat", "cat/annexed.png": "cat", "cat/cached.jpg": "cat",
        "cat/text.png": "cat", "dog/chain.png": "dog",
    }  # fmt: skip
    assert counts == {
        passed_over.HIDDEN: 1, passed_over.OTHER: 1, passed_over.LINKED_IMAGES: 2,
        passed_over.DANGLING: 1,
    }  # fmt: skip
    link(root, "owl", away)
    link(root, "dog/first.png", away / "1.png")
    found, counts = listed(root)
    assert "dog/first.png" in found and "owl/1.png" not in found
    assert counts[passed_over.LINKED_IMAGES] == 3


def test_a_pipe_is_no_image(tmp_path):
    put(tmp_path, "c/0.png")
    os.mkfifo(tmp_path / "c" / "pipe.png")
    link(tmp_path, "c/to-pipe.png", "pipe.png")
    assert listed(tmp_path) == ({"c/0.png": "c"}, {passed_over.OTHER: 2})


def test_folders_without_images_are_counted(tmp_path):
    put(tmp_path, "cat/0.png", "dog/.hidden.png", "owl/deep/notes.txt")
    (tmp_path / "empty").mkdir()
    found, counts = listed(tmp_path)
    assert set(found.values()) == {"cat"}
    assert counts == {passed_over.HIDDEN: 1, passed_over.OTHER: 1, passed_over.EMPTY: 3}


def test_a_folder_that_may_not_be_read_is_an_error(tmp_path, monkeypatch):
    put(tmp_path, "cat/0.png", "dog/0.png")
    scan = os.scandir

    def refuse(path):
        if os.path.basename(path) == "dog":
            raise PermissionError(13, "Permission denied", path)
        return scan(path)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(ValueError, match="dog cannot be read: permission denied"):
        list(listing.images(tmp_path))


def test_nesting_deeper_than_the_stack_is_read(tmp_path, monkeypatch):
    deep = f"c/{'a/' * 300}0.png"
    put(tmp_path, deep)
    limit, frames = sys.getrecursionlimit(), len(inspect.stack(0))
    sys.setrecursionlimit(frames + 100)
    try:
        found = [image.path for image in listing.images(tmp_path)]
    finally:
        sys.setrecursionlimit(limit)
    assert found == [deep]


def test_names_that_are_not_utf_8_are_names(tmp_path):
    name = os.fsdecode(b"K\xf6nig")
    put(tmp_path, f"{name}/{name}.png", "猫/ñ [x] $1$.png")
    assert listed(tmp_path)[0] == {f"{name}/{name}.png": name, "猫/ñ [x] $1$.png": "猫"}


def test_shards_beside_images_are_counted(tmp_path):
    put(tmp_path, "c/0.png", "a.tar", "c/b.PARQUET")
    assert listed(tmp_path) == ({"c/0.png": "c"}, {passed_over.SHARDS: 2})


def test_what_was_given_is_listed_as_it_was_given(tmp_path, monkeypatch):
    put(tmp_path, "b/2.JPG", "a/1.png", "a/notes.txt", "a/.x.png")
    monkeypatch.chdir(tmp_path)
    passed = PassedOver()
    found = [(image.path, image.label) for image in listing.given([".", "a/notes.txt"], passed)]
    assert found == [("./a/1.png", "a"), ("./b/2.JPG", "b"), ("a/notes.txt", "a")]
    assert passed.to_dict() == {passed_over.HIDDEN: 1, passed_over.OTHER: 1}
    with pytest.raises(ValueError, match="does not exist"):
        list(listing.given([tmp_path / "c"]))
    put(tmp_path, "empty/notes.txt")
    with pytest.raises(ValueError, match=r"no image below .*empty \(looked for .*1 other file\)"):
        list(listing.given([tmp_path / "empty"]))


def test_every_reason_is_said_in_the_singular_and_the_plural():
    reasons = [value for key, value in vars(passed_over).items() if key.isupper() and key[0] != "_"]
    for reason in reasons:
        one, two = (passed_over.passed_over_in_words({reason: n}) for n in (1, 2000))
        assert one.startswith("passed over 1: 1 ") and two == f"passed over 2,000: 2,000 {reason}"
        assert not one.endswith(reason)
    counts = {passed_over.OTHER: 1, passed_over.HIDDEN: 4, passed_over.EMPTY: 0}
    said = "passed over 5: 4 hidden files and folders, 1 other file"
    assert passed_over.passed_over_in_words(counts) == said
    assert passed_over.passed_over_in_words({passed_over.OTHER: 0}) == ""
