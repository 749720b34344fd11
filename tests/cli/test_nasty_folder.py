"""One folder with everything that people's folders hold, through every command: the same images and
the same labels everywhere, and no traceback."""

import csv
import io
import json
import os
import tarfile

import nasty_folder
import pytest
from asgi import ask
from PIL import Image
from typer.testing import CliRunner

from semicon_fast.cli import app
from semicon_fast.data import folder as folder_reader
from semicon_fast.data import naming
from semicon_fast.search.gallery import Gallery

PASSED_OVER = {
    "hidden files and folders": 5,
    "other files": 2,
    "links to images listed elsewhere": 1,
    "links to folders read elsewhere": 1,
    "links to folders above them": 2,
    "links to nothing": 1,
    "folders without images": 1,
}


def run(*arguments, code=0):
    result = CliRunner().invoke(app, [str(a) for a in arguments])
    assert result.exit_code == code, f"{result.output[-2000:]!r} {result.exception!r}"
    return result


def answer(*arguments):
    return json.loads(run(*arguments, "--json").stdout)


@pytest.fixture(scope="module")
def nasty(tmp_path_factory):
    return nasty_folder.build(tmp_path_factory.mktemp("nasty"), naming.FORMATS)


@pytest.fixture(scope="module")
def trained(nasty, tmp_path_factory):
    """The folder of a short run on the nasty folder, and what `train --json` said."""
    output = tmp_path_factory.mktemp("runs") / "run [old] $x$"
    said = answer(
        "train", "--preset", "cifar10-dsh-quick-12", "-o", output, "--data", "folder",
        "--root", nasty.root,
        "--set", "data.options={}", "--set", "schedule.iterations=2", "--set", "run.threads=1",
        "--set", "schedule.batch_size=16", "--set", "model.network=small",
        "--set", "model.options={\"width\": 8}",
    )  # fmt: skip
    return output, said


@pytest.fixture(scope="module")
def gallery(nasty, trained, tmp_path_factory):
    """The folder's gallery, with its index, and what `encode --json` said."""
    output = tmp_path_factory.mktemp("galleries") / "gallery [b] \x1b[1m"
    said = answer("encode", trained[0], nasty.root, "-o", output, "--index")
    return output, said


def labels_by_file(nasty, images=None):
    """File without links -> label, of the images that should be read."""
    return {
        os.path.realpath(nasty.root / name): label
        for name, label in (nasty.images if images is None else images).items()
    }


def read(folder):
    """Name -> label of the images of a gallery."""
    opened = Gallery.open(folder)
    assert len(set(opened.images)) == len(opened)
    return dict(zip(opened.images, opened.labels, strict=True))


def test_training_reads_each_image_once(nasty):
    data = folder_reader.load(nasty.root)
    found = {
        os.path.realpath(nasty.root / images.identifier(i)): images.classes[int(images.labels[i])]
        for images in (data.train, data.query)
        for i in range(len(images))
    }
    assert found == labels_by_file(nasty)
    assert len(data.train) + len(data.query) == len(nasty.images)
    assert data.passed_over == PASSED_OVER


def test_train_says_what_it_passed_over(trained):
    assert trained[1]["passed_over"] == PASSED_OVER


def test_encode_reads_what_training_reads(nasty, gallery):
    folder, said = gallery
    assert read(folder) == labels_by_file(nasty)
    assert said["passed_over"] == PASSED_OVER and said["broken"] == []
    about = json.loads((folder / "gallery.json").read_text())
    assert about["passed_over"] == PASSED_OVER


def test_the_csv_file_holds_the_names_of_the_file_system(gallery, nasty):
    text = (gallery[0] / "images.csv").read_bytes()
    decoded = io.StringIO(text.decode("utf-8", "surrogateescape"), newline="")
    rows = list(csv.DictReader(decoded))
    assert {row["image"]: row["label"] for row in rows} == labels_by_file(nasty)


def test_a_tar_of_the_folder_holds_the_same_images(nasty, trained, tmp_path):
    nasty_folder.write_tar(tmp_path / "photos.tar", nasty.root)
    said = answer("encode", trained[0], tmp_path / "photos.tar", "-o", tmp_path / "gallery")
    # Only what links lead to outside the folder is not in the archive.
    inside = {
        name: label
        for name, label in nasty.images.items()
        if os.path.realpath(nasty.root / name).startswith(os.path.realpath(nasty.root) + os.sep)
    }
    place = f"{os.path.realpath(tmp_path / 'photos.tar')}/photos/"
    assert read(tmp_path / "gallery") == {place + name: inside[name] for name in inside}
    assert len(nasty.images) - len(inside) == 3
    assert said["passed_over"]["links out of an archive"] >= 2


def test_a_list_of_the_files_gives_the_same_labels(nasty, trained, tmp_path):
    # A list has one path a line, so that some names cannot stand in one.
    listed = {
        name: label
        for name, label in nasty.images.items()
        if name == name.strip() and len((name + "x").splitlines()) == 1
    }
    lines = [os.fsencode(nasty.root / name) for name in listed]
    (tmp_path / "list.txt").write_bytes(b"\n".join(lines))
    run("encode", trained[0], tmp_path / "list.txt", "-o", tmp_path / "gallery")
    assert read(tmp_path / "gallery") == labels_by_file(nasty, listed)


def test_a_parquet_file_gives_the_same_labels(nasty, trained, tmp_path):
    pa = pytest.importorskip("pyarrow")
    import pyarrow.parquet

    names = [n for n, label in nasty.images.items() if label.isprintable() or label.isascii()]
    rows = [{"bytes": (nasty.root / name).read_bytes(), "path": "x"} for name in names]
    labels = [nasty.images[name] for name in names]
    labels[0] = nasty_folder.LONG_LABEL
    table = pa.table({"image": rows, "label": labels})
    pyarrow.parquet.write_table(table, tmp_path / "photos.parquet")
    run("encode", trained[0], tmp_path / "photos.parquet", "-o", tmp_path / "gallery")
    assert list(read(tmp_path / "gallery").values()) == labels


def test_a_webdataset_label_may_be_of_any_length(nasty, trained, tmp_path):
    first = next(iter(nasty.images))
    with tarfile.open(tmp_path / "w.tar", "w") as tar:
        contents = (nasty.root / first).read_bytes(), nasty_folder.LONG_LABEL.encode()
        for name, content in zip(("a.png", "a.cls"), contents, strict=True):
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    run("encode", trained[0], tmp_path / "w.tar", "-o", tmp_path / "gallery")
    assert list(read(tmp_path / "gallery").values()) == [nasty_folder.LONG_LABEL.strip()]
    found = answer("search", tmp_path / "gallery", nasty.root / first, "-k", "1")
    assert found["queries"][0]["hits"][0]["label"] == nasty_folder.LONG_LABEL.strip()
    # Figures show images of archives, too.
    picture, why = tmp_path / "hits.png", tmp_path / "why.png"
    run("search", tmp_path / "gallery", nasty.root / first, "-k", "1", "--picture", picture)
    run("explain", tmp_path / "gallery", "0", "0", "--picture", why)
    assert picture.is_file() and why.is_file()


def test_search_finds_each_image_of_the_folder(nasty, gallery, tmp_path):
    picture = tmp_path / "hits.png"
    some = [nasty.root / name for name in nasty.images if name.endswith("deep.png")]
    count = len(nasty.images)
    found = answer("search", gallery[0], nasty.root, "-k", str(count))
    assert found["passed_over"] == PASSED_OVER and len(found["queries"]) == count
    expected = labels_by_file(nasty)
    for entry in found["queries"]:
        itself = [h for h in entry["hits"] if h["image"] == os.path.realpath(entry["query"])]
        assert len(itself) == 1 and itself[0]["distance"] == 0
        assert {h["image"]: h["label"] for h in entry["hits"]} == expected
    run("search", gallery[0], *some[:4], "-k", "3", "--picture", picture)
    with Image.open(picture) as drawn:
        assert drawn.width > 300


def test_the_last_line_says_what_was_passed_over(nasty, gallery):
    said = run("search", gallery[0], nasty.root, "-k", "1").stdout.strip().splitlines()[-1]
    assert said.startswith(f"passed over {sum(PASSED_OVER.values())}: 5 hidden files and folders")


def test_evaluate_takes_the_labels_of_the_folder(nasty, trained, gallery, tmp_path):
    folder = gallery[0]
    found = answer("evaluate", "--queries", folder, "--database", folder, "--leave-one-out")
    assert found["left_out"] == found["queries_in_database"] == len(nasty.images)
    assert (folder / "evaluation.html").is_file()
    found = answer("evaluate", "--run", trained[0], "--curve", tmp_path / "curve.png")
    assert found["passed_over"] == PASSED_OVER


def test_explain_and_visualize_draw_them(nasty, trained, gallery, tmp_path):
    one, other = [nasty.root / name for name in nasty.images if name.endswith("deep.png")][:2]
    run("explain", trained[0], one, other, "--picture", tmp_path / "why.png")
    run("explain", gallery[0], "0", "1", "--picture", tmp_path / "why.svg")
    said = answer(
        "visualize", trained[0], "-o", tmp_path / "pictures", "--images", nasty.root / "linked",
        "--kind", "grid,curve,outputs",
    )  # fmt: skip
    assert said["pictures"]


def test_the_server_gives_the_same_names_and_labels(nasty, gallery, monkeypatch):
    pytest.importorskip("fastapi")
    from semicon_fast import serve

    expected = sorted((os.path.basename(f), label) for f, label in labels_by_file(nasty).items())
    served = []

    def look(application, listening, limits):
        listening.close()
        for start in range(0, len(expected), 24):
            status, _, content = ask(application, f"/api/images?start={start}&count=24")
            assert status == 200
            served.extend(json.loads(content)["images"])
        for image in served:
            assert ask(application, image["image"])[0] == 200, image["name"]

    monkeypatch.setattr(serve, "run", look)
    run("serve", gallery[0], "--port", "0")
    assert sorted((image["name"], image["label"]) for image in served) == expected
