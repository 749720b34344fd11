"""The commands as a person types them: train, encode, index, search, evaluate on a small folder."""

import json
import os
import shutil
import tarfile

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from semicon_fast import models
from semicon_fast.cli import app
from semicon_fast.data.passed_over import BROKEN, HIDDEN, LOOPS, OTHER
from semicon_fast.search.gallery import Gallery
from semicon_fast.serve import Searcher

COLOURS = {"red": (200, 30, 30), "blue": (30, 30, 200)}


def run(*arguments, code=0):
    result = CliRunner().invoke(app, [str(a) for a in arguments])
    assert result.exit_code == code, result.output + result.stderr
    return result


def answer(*arguments):
    """The JSON that a command prints, and nothing else, on stdout."""
    return json.loads(run(*arguments, "--json").stdout)


def draw(path, colour, rng):
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = rng.integers(-25, 25, (16, 16, 3))
    Image.fromarray((np.array(colour) + noise).clip(0, 255).astype(np.uint8)).save(path)


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photos")
    rng = np.random.default_rng(0)
    for part, count in (("train", 8), ("test", 3)):
        for name, colour in COLOURS.items():
            for i in range(count):
                draw(folder / part / name / f"{i}.png", colour, rng)
    return folder


@pytest.fixture(scope="module")
def trained(photos, tmp_path_factory):
    """A run of two quick iterations of DSH, and what `train --json` said."""
    output = tmp_path_factory.mktemp("runs") / "run"
    said = answer(
        "train", "--preset", "cifar10-dsh-quick-12", "-o", output, "--data", "folder",
        "--root", photos,
        "--set", "data.options={}", "--set", "schedule.iterations=4", "--set", "run.threads=1",
        "--set", "schedule.batch_size=8", "--set", "model.network=small",
        "--set", "model.options={\"width\": 8}",
    )  # fmt: skip
    return output, said


@pytest.fixture(scope="module")
def gallery(trained, photos, tmp_path_factory):
    folder = tmp_path_factory.mktemp("galleries") / "train"
    run("encode", trained[0], photos / "train", "-o", folder)
    run("index", folder)
    return folder


def test_train_leaves_a_model_a_log_and_a_result(trained):
    output, said = trained
    assert json.loads((output / "result.json").read_text()) == said
    assert (output / "model.safetensors").is_file() and (output / "log.jsonl").is_file()
    assert "6 queries against 16 database images" in said["protocol"]
    assert said["selection"]["mode"] == "last"


def test_train_twice_into_one_folder_is_refused(trained, photos):
    said = run(
        "train", "--preset", "cifar10-dsh-quick-12", "--root", photos, "-o", trained[0], code=2
    ).stderr
    assert said.startswith("error: ") and "resume" in said and "Traceback" not in said


def test_encode_writes_codes_that_numpy_reads(gallery, trained):
    codes = np.load(gallery / "codes.npy")
    assert codes.shape == (16, 2) and codes.dtype == np.uint8
    about = json.loads((gallery / "gallery.json").read_text())
    assert about["bits"] == 12 and about["count"] == 16
    assert about["model"].endswith("model.safetensors")
    lines = (gallery / "images.csv").read_text().splitlines()
    assert lines[0] == "id,image,label" and lines[1].endswith(",blue")


def test_encode_refuses_to_replace_a_gallery_unless_told(gallery, trained, photos):
    said = run("encode", trained[0], photos / "test", "-o", gallery, code=2).stderr
    assert "exists already" in said
    assert len(np.load(gallery / "codes.npy")) == 16


def test_search_finds_the_query_itself_first(gallery, photos):
    query = photos / "train" / "red" / "3.png"
    found = answer("search", gallery, query, "-k", "16")["queries"][0]["hits"]
    distances = [hit["distance"] for hit in found]
    assert distances[0] == 0 and distances == sorted(distances) and len(found) == 16
    assert str(query.resolve()) in [h["image"] for h in found if h["distance"] == 0]


def test_search_draws_a_picture(gallery, photos, tmp_path):
    run("search", gallery, photos / "test", "-k", "3", "--picture", tmp_path / "hits.png")
    with Image.open(tmp_path / "hits.png") as picture:
        assert picture.width > 300 and picture.height > 300


def test_index_and_codes_must_belong_together(gallery, tmp_path, photos):
    from semicon_fast import HammingIndex

    copy = tmp_path / "copy"
    shutil.copytree(gallery, copy)
    HammingIndex(12).save(copy / "index.hamming")
    assert "build it again" in run("search", copy, photos / "test", code=2).stderr


def test_evaluate_agrees_between_run_and_galleries(trained, gallery, photos, tmp_path):
    output, said = trained
    run("encode", output, photos / "test", "-o", tmp_path / "test")
    way = "symmetric (encoded database)"
    from_run = answer("evaluate", "--run", output)["evaluation"][way]["mAP"]
    from_galleries = answer("evaluate", "--queries", tmp_path / "test", "--database", gallery)
    assert from_run == pytest.approx(said["evaluation"][way]["mAP"], abs=1e-12)
    assert from_galleries["evaluation"][way]["mAP"] == pytest.approx(from_run, abs=1e-12)


def test_evaluate_names_the_side_of_the_database(trained):
    way = "symmetric (encoded database)"
    alone = answer("evaluate", "--run", trained[0], "--database", "encoded")
    assert list(alone["evaluation"]) == [way]
    assert way in run("evaluate", "--run", trained[0], "--database", "encoded").stdout
    assert way in (trained[0] / "evaluation.html").read_text("utf-8")
    for side in ("learned", "centers"):
        said = run("evaluate", "--run", trained[0], "--database", side, code=2).stderr
        assert "database must be encoded, for which this run has codes of all database " in said
        assert f"got '{side}'" in said


def test_evaluate_says_which_queries_find_themselves_and_leaves_them_out(
    trained, gallery, photos, tmp_path
):
    some = [photos / "train" / "red" / "3.png", photos / "train" / "blue" / "0.png"]
    run("encode", trained[0], *some, photos / "test", "-o", tmp_path / "some")
    command = ("evaluate", "--queries", tmp_path / "some", "--database", gallery)
    lines = run(*command).stdout.splitlines()
    assert lines[-1] == (
        "2 of 8 queries are in the database: each finds itself first; --leave-one-out leaves each "
        "out of its own ranking"
    )
    found, left = answer(*command), answer(*command, "--leave-one-out")
    assert (found["queries_in_database"], found["left_out"]) == (2, 0)
    assert (left["queries_in_database"], left["left_out"]) == (2, 2)
    way = "symmetric (encoded database)"
    assert found["evaluation"][way]["precision@100"] == pytest.approx(8 / 16)
    wanted = (2 * 7 / 15 + 6 * 8 / 16) / 8
    assert left["evaluation"][way]["precision@100"] == pytest.approx(wanted)
    assert "each is left out of its own ranking" in run(*command, "--leave-one-out").stdout
    assert "is left out of its own" in (gallery / "evaluation.html").read_text("utf-8")


def test_evaluate_counts_images_without_a_label(gallery, tmp_path):
    import csv
    import shutil

    bare = tmp_path / "bare"
    shutil.copytree(gallery, bare)
    with open(bare / "images.csv", encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file))

    def write(changed):
        with open(bare / "images.csv", "w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows([*rows[:1], *changed])

    write([[i, name, "" if int(i) < 5 else label] for i, name, label in rows[1:]])
    found = answer("evaluate", "--queries", bare, "--database", gallery)
    assert (found["unlabelled_queries"], found["unlabelled_database"]) == (5, 0)
    assert found["evaluation"]["symmetric (encoded database)"]["queries"] == 11
    last = run("evaluate", "--queries", gallery, "--database", bare).stdout.splitlines()[-1]
    assert last == "5 images of the database without a label are relevant to nothing"
    write([[i, name, ""] for i, name, _ in rows[1:]])
    said = run("evaluate", "--queries", bare, "--database", gallery, code=2).stderr
    assert said.startswith("error: no image of the queries has a label")


def test_a_run_whose_queries_are_in_the_database_leaves_them_out(photos, tmp_path):
    for name in ("train", "test"):
        listed = [
            f"train/{colour}/{i}.png {label}"
            for label, colour in enumerate(COLOURS)
            for i in range(8 if name == "train" else 2)
        ]
        (tmp_path / f"{name}.txt").write_text("\n".join(listed))
    output = tmp_path / "run"
    options = {
        "train": str(tmp_path / "train.txt"), "query": str(tmp_path / "test.txt"),
        "allow_overlap": True,
    }  # fmt: skip
    answer(
        "train", "--preset", "cifar10-dsh-quick-12", "-o", output, "--data", "list",
        "--root", photos, "--set", f"data.options={json.dumps(options)}",
        "--set", "schedule.iterations=1", "--set", "run.threads=1",
        "--set", "schedule.batch_size=8", "--set", "model.network=small",
        "--set", "model.options={\"width\": 8}",
    )  # fmt: skip
    found, left = (answer("evaluate", "--run", output, *o) for o in ((), ("--leave-one-out",)))
    assert (found["queries_in_database"], found["left_out"], left["left_out"]) == (4, 0, 4)
    way = "symmetric (encoded database)"
    assert left["evaluation"][way]["recall@100"] == found["evaluation"][way]["recall@100"] == 1
    assert left["evaluation"][way]["precision@100"] == pytest.approx(7 / 15)
    assert found["evaluation"][way]["precision@100"] == pytest.approx(8 / 16)
    assert "4 of 4 queries are in the database" in run("evaluate", "--run", output).stdout


def test_an_ensemble_is_a_run_for_the_other_commands(trained, gallery, photos, tmp_path):
    both = tmp_path / "both"
    said = answer("ensemble", trained[0], trained[0], "-o", both)
    assert said == {"run": str(both), "bits": 24, "networks": {"network1": 12, "network2": 12}}
    shown = run("ensemble", trained[0], trained[0], "-o", tmp_path / "again").stdout
    assert shown.strip() == f"{tmp_path / 'again'}: 2 networks, codes of 12 + 12 bits"
    run("encode", both, photos / "train", "-o", tmp_path / "gallery")
    about = json.loads((tmp_path / "gallery" / "gallery.json").read_text())
    assert about["bit_groups"] == {"network1": [0, 12], "network2": [12, 24]}
    query = photos / "test" / "red" / "0.png"
    found, alone = (
        answer("search", folder, query, "-k", "16")["queries"][0]["hits"]
        for folder in (tmp_path / "gallery", gallery)
    )
    # The same network twice: every distance is doubled, and no order is changed.
    assert [hit["distance"] for hit in found] == [2 * hit["distance"] for hit in alone]
    assert [hit["image"] for hit in found] == [hit["image"] for hit in alone]
    opened = Gallery.open(tmp_path / "gallery")
    network = models.load(both / "model.safetensors", opened.bits)
    served = Searcher(opened, opened.build_index(), network)
    assert served.parts == {"network1": 12, "network2": 12}
    code = served.by_image(query.read_bytes(), 10**6)
    assert [h.distance for h in served.search(code, 16, None)] == [h["distance"] for h in found]
    way = "symmetric (encoded database)"
    evaluated = answer("evaluate", "--run", both)["evaluation"][way]
    wanted = answer("evaluate", "--run", trained[0])["evaluation"][way]
    assert evaluated["bits"] == 24 and evaluated["mAP"] == wanted["mAP"]
    assert set(evaluated["parts"]["alone"]) == {"network1", "network2"}


def test_evaluate_draws_the_curve(trained, tmp_path):
    run("evaluate", "--run", trained[0], "--curve", tmp_path / "curve.svg")
    assert "<svg" in (tmp_path / "curve.svg").read_text()


def test_broken_images_are_all_named_or_left_out(trained, photos, tmp_path):
    rng = np.random.default_rng(1)
    draw(tmp_path / "in" / "good.png", (9, 9, 9), rng)
    (tmp_path / "in" / "words.jpg").write_text("not an image")
    (tmp_path / "in" / "empty.png").write_bytes(b"")
    said = run("encode", trained[0], tmp_path / "in", "-o", tmp_path / "out", code=2).stderr
    flat = " ".join(said.split())
    assert "2 of 3 images do not decode" in flat and "words.jpg" in flat and "empty.png" in flat
    assert not (tmp_path / "out").exists()
    assert "add --resume --on-broken skip" in flat
    said = run("encode", trained[0], tmp_path / "in", "-o", tmp_path / "out", code=2).stderr
    assert "was begun" in said
    said = answer(
        "encode", trained[0], tmp_path / "in", "-o", tmp_path / "out", "--on-broken", "skip",
        "--resume",
    )  # fmt: skip
    assert said["count"] == 1 and len(said["broken"]) == 2


def untidy(photos, folder):
    """The test images with what macOS, Windows and links add; the counts of what to pass over."""
    shutil.copytree(photos / "test", folder)
    (folder / "red" / "._0.png").write_bytes(b"x")
    (folder / "red" / "Thumbs.db").write_bytes(b"x")
    os.symlink(".", folder / "red" / "latest")
    return {HIDDEN: 1, OTHER: 1, LOOPS: 1}


SAID = "passed over 3: 1 hidden file or folder, 1 other file, 1 link to a folder above it"


def test_encode_and_search_say_what_they_pass_over_last(trained, gallery, photos, tmp_path):
    counts = untidy(photos, tmp_path / "in")
    said = answer("encode", trained[0], tmp_path / "in", "-o", tmp_path / "a")
    assert said["count"] == 6 and said["passed_over"] == counts and said["notes"] == {}
    about = json.loads((tmp_path / "a" / "gallery.json").read_text())
    assert about["passed_over"] == counts
    said = run("encode", trained[0], tmp_path / "in", "-o", tmp_path / "b").stdout
    assert said.splitlines()[-1] == SAID
    assert run("search", gallery, tmp_path / "in", "-k", "1").stdout.splitlines()[-1] == SAID
    assert answer("search", gallery, tmp_path / "in")["passed_over"] == counts
    assert answer("search", gallery, photos / "test")["passed_over"] == {}
    assert "passed over" not in run("search", gallery, photos / "test", "-k", "1").stdout


def test_encode_notes_images_without_a_label(trained, photos, tmp_path):
    with tarfile.open(tmp_path / "x.tar", "w") as tar:
        tar.add(photos / "test" / "red" / "0.png", "0.png")
    said = run("encode", trained[0], tmp_path / "x.tar", "-o", tmp_path / "g").stdout
    assert said.splitlines()[-1] == "note: 1 image without a label"


def test_train_says_what_it_passes_over(photos, tmp_path):
    shutil.copytree(photos, tmp_path / "in")
    (tmp_path / "in" / "train" / "red" / "._0.png").write_bytes(b"x")
    (tmp_path / "in" / "train" / "red" / "9.png").write_bytes(b"x")
    said = run(
        "train", "--preset", "cifar10-dsh-quick-12", "-o", tmp_path / "run", "--data", "folder",
        "--root", tmp_path / "in", "--set", "data.on_broken=skip",
        "--set", "data.options={}", "--set", "schedule.iterations=1", "--set", "run.threads=1",
        "--set", "schedule.batch_size=8", "--set", "model.network=small",
        "--set", "model.options={\"width\": 8}",
    ).stdout  # fmt: skip
    sentence = "passed over 2: 1 hidden file or folder, 1 image that cannot be decoded"
    assert said.splitlines()[-1] == sentence
    counts = {HIDDEN: 1, BROKEN: 1}
    assert json.loads((tmp_path / "run" / "result.json").read_text())["passed_over"] == counts
    assert answer("evaluate", "--run", tmp_path / "run")["passed_over"] == counts
    again = run("train", "-o", tmp_path / "run", "--resume").stdout
    assert again.splitlines()[-1] == sentence


def test_galleries_and_training_give_a_nested_folder_the_same_labels(trained, photos, tmp_path):
    for path in sorted((photos / "test").rglob("*.png")):
        place = tmp_path / "in" / path.parent.name / "day" / "hour" / path.name
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, place)
    run("encode", trained[0], tmp_path / "in", "-o", tmp_path / "g")
    lines = (tmp_path / "g" / "images.csv").read_text().splitlines()[1:]
    assert [line.rsplit(",", 1)[1] for line in lines] == ["blue"] * 3 + ["red"] * 3


def test_info_names_operators_presets_and_data_sets():
    facts = answer("info")
    assert {"icon_attention", "sem_mask", "hamming_topk"} <= facts["operators"].keys()
    assert "cub-48" in facts["presets"] and "birdlets" in facts["data sets"]
    assert "torch" in run("info").stdout


def test_help_shows_every_command():
    text = run("--help").stdout
    for command in ("demo", "train", "encode", "index", "search", "evaluate", "info"):
        assert command in text
    assert run("--version").stdout.startswith("semicon-fast ")
