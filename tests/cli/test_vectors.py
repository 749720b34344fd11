"""Embeddings to codes on the command line: features, fit, encode, search, evaluate, recall."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from semicon_fast import metrics, models, shallow
from semicon_fast.cli import app
from semicon_fast.data import open_vectors
from semicon_fast.data.transforms import Transform
from semicon_fast.search import HammingIndex
from semicon_fast.search.gallery import Gallery


def run(*arguments, code=0):
    result = CliRunner().invoke(app, [str(a) for a in arguments])
    assert result.exit_code == code, result.output + result.stderr
    return result


def answer(*arguments):
    return json.loads(run(*arguments, "--json").stdout)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """300 vectors around 6 centers, with labels and names, a held-out file, and a hasher."""
    folder = tmp_path_factory.mktemp("vectors")
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 6, 330)
    rows = (rng.standard_normal((6, 20))[labels] * 2 + rng.standard_normal((330, 20))).astype("f4")
    np.save(folder / "features.npy", rows[:300])
    np.save(folder / "queries.npy", rows[300:])
    np.save(folder / "labels.npy", labels[:300])
    np.save(folder / "query_labels.npy", labels[300:])
    (folder / "names.txt").write_text("".join(f"item {i}\n" for i in range(300)))
    run("fit", "itq", folder / "features.npy", "--bits", 16, "-o", folder / "hasher")
    return folder


def test_fit_writes_the_hasher_that_the_library_fits(place):
    rows = np.load(place / "features.npy")
    wanted = shallow.ITQ(16).fit(rows)
    assert np.array_equal(shallow.load(place / "hasher").encode(rows), wanted.encode(rows))


def test_fit_takes_options_and_labels(place, tmp_path):
    given = (place / "features.npy", "--bits", 8, "--labels", place / "labels.npy")
    said = answer("fit", "sdh", *given, "--set", "anchors=40", "--set", "lam=0.5", "--set",
                  "seed=3", "-o", tmp_path / "h")  # fmt: skip
    assert said["parameters"]["anchors"] == 40 and said["features"] == [300, 20]
    rows, labels = np.load(place / "features.npy"), np.load(place / "labels.npy")
    wanted = shallow.SDH(8, anchors=40, lam=0.5, seed=3).fit(rows, labels)
    assert np.array_equal(shallow.load(tmp_path / "h").encode(rows), wanted.encode(rows))


def test_fit_leaves_rows_without_a_label_out_and_says_so(place, tmp_path):
    rows, labels = np.load(place / "features.npy"), np.load(place / "labels.npy")
    names = [f"class {n}" for n in labels]
    lines = ["" if i % 10 == 0 else name for i, name in enumerate(names)]
    (tmp_path / "l.txt").write_text("\n".join(lines) + "\n")
    said = run("fit", "cca-itq", place / "features.npy", "--bits", 4, "--labels",
               tmp_path / "l.txt", "-o", tmp_path / "h").stdout  # fmt: skip
    assert said.splitlines()[-1] == "note: 30 rows without a label are left out"
    kept = np.arange(300) % 10 != 0
    wanted = shallow.CCAITQ(4).fit(rows[kept], labels[kept])
    assert np.array_equal(shallow.load(tmp_path / "h").encode(rows), wanted.encode(rows))


def test_encode_makes_a_gallery_that_is_searched_and_evaluated(place, tmp_path):
    said = answer("encode", place / "hasher", place / "features.npy", "--labels",
                  place / "labels.npy", "--names", place / "names.txt", "-o",
                  tmp_path / "g")  # fmt: skip
    assert (said["count"], said["bits"]) == (300, 16)
    gallery = Gallery.open(tmp_path / "g")
    hasher = shallow.load(place / "hasher")
    codes = hasher.encode(np.load(place / "features.npy"))
    assert np.array_equal(gallery.codes, codes)
    assert gallery.images[7] == "item 7" and gallery.labels[7] == str(np.load(
        place / "labels.npy")[7])  # fmt: skip
    assert gallery.info["hasher"] == "itq"
    run("index", tmp_path / "g")
    index = HammingIndex(16)
    index.add(codes)
    asked = hasher.encode(np.load(place / "queries.npy"))
    distances, ids = index.search(asked, 5)
    found = answer("search", tmp_path / "g", place / "queries.npy", "-k", 5)["queries"]
    assert len(found) == 30 and found[3]["query"] == f"{place / 'queries.npy'}#3"
    assert [h["id"] for h in found[3]["hits"]] == ids[3].tolist()
    assert [h["distance"] for h in found[3]["hits"]] == distances[3].tolist()
    assert "item" in run("search", tmp_path / "g", place / "queries.npy", "-k", 2).stdout
    run("encode", place / "hasher", place / "queries.npy", "--labels",
        place / "query_labels.npy", "-o", tmp_path / "q")  # fmt: skip
    assert Gallery.open(tmp_path / "q").images == [str(i) for i in range(30)]
    result = answer("evaluate", "--queries", tmp_path / "q", "--database", tmp_path / "g")
    wanted = metrics.mean_average_precision(
        asked, codes, np.load(place / "query_labels.npy"), np.load(place / "labels.npy"),
        bits=16, ties="expected",
    )  # fmt: skip
    figures = result["evaluation"]["symmetric (encoded database)"]
    assert figures["mAP"] == pytest.approx(wanted)


def test_blocks_and_files_do_not_change_a_code(place, tmp_path, monkeypatch):
    from semicon_fast.data import vectors

    monkeypatch.setattr(vectors, "_VALUES", 140)
    run("encode", place / "hasher", place / "features.npy", place / "queries.npy", "-o",
        tmp_path / "g", "--index")  # fmt: skip
    rows = np.concatenate([np.load(place / f"{n}.npy") for n in ("features", "queries")])
    assert np.array_equal(np.load(tmp_path / "g" / "codes.npy"),
                          shallow.load(place / "hasher").encode(rows))  # fmt: skip
    assert len(HammingIndex.load(tmp_path / "g" / "index.hamming")) == 330


def test_recall_is_that_of_the_library(place):
    rows, asked = np.load(place / "features.npy"), np.load(place / "queries.npy")
    hasher = shallow.load(place / "hasher")
    given = hasher.encode(asked), hasher.encode(rows), asked, rows
    wanted = metrics.code_recall(*given, bits=16, metric="euclidean", candidates=2)
    found = answer("recall", place / "hasher", place / "features.npy", "--queries",
                   place / "queries.npy", "--metric", "euclidean", "--candidates", 2)  # fmt: skip
    assert found["recall"] == {
        side: {str(k): v for k, v in values.items()}
        for side, values in (("codes", wanted.codes), ("reranked", wanted.reranked))
    }
    assert (found["queries"], found["database"]) == (30, 300)
    assert set(found["ms_per_query"]) == {"exact", "codes", "reranked"}
    assert 0 < found["recall"]["codes"]["10"] < found["recall"]["reranked"]["10"]


def test_recall_draws_queries_and_leaves_them_out(place):
    command = "recall", place / "hasher", place / "features.npy", "--count", 40
    first, again, other = (answer(*command, "--seed", seed) for seed in (0, 0, 1))
    assert (first["queries"], first["database"]) == (40, 260)
    assert first["recall"] == again["recall"] != other["recall"]
    shown = run(*command).stdout
    assert "recall@100" in shown and "re-ranked" in shown and "cosine" in shown


def test_recall_of_few_vectors_says_where_k_ends(place, tmp_path):
    np.save(tmp_path / "few.npy", np.load(place / "features.npy")[:30])
    shown = run("recall", place / "hasher", tmp_path / "few.npy", "--count", 5).stdout
    assert "recall@10" in shown and "recall@100" not in shown
    assert "the database has 25 vectors, so k ends there" in shown


def test_features_of_images_go_all_the_way(tmp_path):
    rng = np.random.default_rng(0)
    for i in range(24):
        path = tmp_path / "photos" / f"{i % 2}" / f"{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 255, (16, 16, 3), dtype=np.uint8)).save(path)
    (tmp_path / "photos" / "0" / "._x.png").write_bytes(b"x")
    network = models.build({"network": "small", "code_length": 8, "width": 4}, seed=0)
    network.preprocess = Transform("plain", 16, False).config()
    models.save(network, tmp_path / "model.safetensors")
    file = tmp_path / "f.npz"
    said = run("features", tmp_path / "model.safetensors", tmp_path / "photos", "-o", file).stdout
    assert said.splitlines()[-1] == "passed over 1: 1 hidden file or folder"
    assert "24 images, features of 16 values" in said
    found = open_vectors(file)
    assert found.shape == (24, 16) and found.labels[0] == "0"
    twice = run("features", tmp_path / "model.safetensors", tmp_path / "photos", "-o", file, code=2)
    assert "exists already" in twice.stderr
    run("fit", "cca-itq", file, "--bits", 4, "-o", tmp_path / "hasher")
    run("encode", tmp_path / "hasher", file, "-o", tmp_path / "g")
    gallery = Gallery.open(tmp_path / "g")
    assert gallery.images == found.names and gallery.labels == found.labels


@pytest.mark.parametrize(
    "call, sentence",
    [
        (["fit", "sdh", "features.npy", "--bits", "8", "-o", "new"], "sdh learns from labels: giv"),
        (["fit", "itq", "features.npy", "--bits", "21", "-o", "new"], "bits must be at most 20"),
        (["fit", "itq", "features.npy", "--bits", "8", "-o", "new", "--set", "iteration=3"],
         "hasher itq has no option 'iteration'"),
        (["fit", "itq", "features.npy", "--bits", "8", "-o", "new", "--set", "iterations=x"],
         "iterations must be an integer >= 0, got 'x'"),
        (["fit", "itq", "features.npy", "--bits", "8", "-o", "new", "--labels",
          "query_labels.npy"], "labels must be 300, one a row of features.npy, got 30"),
        (["encode", "hasher", "labels.npy", "-o", "new"], "labels.npy must be (N, F)"),
        (["encode", "hasher", "wide.npy", "-o", "new"], "vectors of 21 values, the hasher was fi"),
        (["encode", "hasher", "nan.npy", "-o", "new"], "row 4 of nan.npy holds NaN or infinity"),
        (["encode", "hasher", "features.npy", "-o", "new", "--resume"], "--resume is for images"),
        (["encode", "hasher", "features.npy", "queries.npy", "-o", "new", "--labels",
          "labels.npy"], "--labels is for one file of vectors, got 2"),
        (["explain", "gallery", "0", "1"], "holds feature vectors, which `semicon-fast search`"),
        (["serve", "gallery"], "this command needs one of images; or add --no-model"),
        (["recall", "hasher", "features.npy", "--queries", "wide.npy"], "as wide as those that"),
        (["recall", "hasher", "features.npy", "--count", "300"], "--count must be less than the"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_one_sentence_and_nothing_is_written(
    place, monkeypatch, call, sentence
):
    monkeypatch.chdir(place)
    np.save("wide.npy", np.ones((5, 21), "f4"))
    np.save("nan.npy", np.where(np.arange(100).reshape(5, 20) == 87, np.nan, 1.0))
    if not Path("gallery").exists():
        run("encode", "hasher", "features.npy", "-o", "gallery")
    before = sorted(place.rglob("*"))
    said = run(*call, code=2).stderr
    assert said.startswith("error: ") and sentence in " ".join(said.split()), said
    assert sorted(place.rglob("*")) == before
