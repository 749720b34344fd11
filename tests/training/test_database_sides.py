"""The three sides of the database's codes: learned, centers of the classes, encoded."""

from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file

from semicon_fast import metrics
from semicon_fast.data import HashingData, ImageSet
from semicon_fast.data.image_set import Memory
from semicon_fast.training import Trainer, encoded_run, evaluate_run
from semicon_fast.training.learned_codes import LearnedCodes, label_codes, load_codes, save_codes
from semicon_fast.training.sides import SIDES

SHC = ("method.name=shc", 'method.options={"centers":"hadamard"}')


@pytest.fixture(scope="module")
def runs(tiny, tmp_path_factory):
    """The folders of a run that learns codes, one with centers, and one without either."""
    folder = tmp_path_factory.mktemp("sides")
    for name, settings in (("semicon", ()), ("shc", SHC), ("dsh", ("method.name=dsh",))):
        config = tiny.config(*settings, "schedule.iterations=1", "schedule.epochs=1")
        Trainer(config, tiny.data(), output=folder / name).fit()
    return folder


HAVE = {
    "semicon": ["learned", "encoded"],
    "shc": ["centers", "encoded"],
    "dsh": ["encoded"],
}


@pytest.mark.parametrize("name", HAVE)
def test_each_side_that_a_run_has_is_given_alone_or_beside_the_others(tiny, runs, name):
    together = evaluate_run(runs / name, data=tiny.data())["evaluation"]
    assert list(together) == [SIDES[side] for side in HAVE[name]]
    for side in HAVE[name]:
        alone = evaluate_run(runs / name, data=tiny.data(), database=side)["evaluation"]
        assert alone == {SIDES[side]: together[SIDES[side]]}


@pytest.mark.parametrize("name", HAVE)
def test_a_side_that_a_run_lacks_is_refused_before_anything_is_encoded(
    tiny, runs, name, monkeypatch
):
    monkeypatch.setattr("semicon_fast.training.evaluation.encode_set", None)
    there = " or ".join(HAVE[name])
    for side in set(SIDES) - set(HAVE[name]):
        with pytest.raises(ValueError, match=f"database must be {there}, .* got {side!r}"):
            evaluate_run(runs / name, data=tiny.data(), database=side)
    with pytest.raises(ValueError, match="must be one of learned, centers, encoded, got 'all'"):
        evaluate_run(runs / name, data=tiny.data(), database="all")


def test_the_sides_are_scored_with_their_own_codes(tiny, runs):
    data = tiny.data()
    for name, side in (("semicon", "learned"), ("shc", "centers")):
        found = encoded_run(runs / name, data=data)
        codes = load_file(runs / name / "codes.safetensors")["codes"]
        assert torch.equal(getattr(found, side), codes)
        labels = data.query.labels, data.database.labels
        wanted = metrics.mean_average_precision(
            found.queries, codes, *labels, bits=8, ties="expected"
        )
        made = evaluate_run(runs / name, data=data, database=side)["evaluation"]
        assert made[SIDES[side]]["mAP"] == wanted
    # One code a class.
    assert len(codes.unique(dim=0)) == 3


def labelled(labels):
    pixels = torch.zeros(len(labels), 3, 2, 2, dtype=torch.uint8)
    names = [str(i) for i in range(len(labels))]
    classes = "abc" if labels.ndim == 2 else "abcd"
    return ImageSet("x", Memory(pixels, names, None), labels, classes)


def test_images_of_the_database_that_are_not_trained_on_have_the_code_of_their_class():
    train, database = torch.tensor([1, 0, 2, 1]), torch.tensor([2, 1, 1, 0, 2])
    centers = torch.tensor([[10], [20], [30]], dtype=torch.uint8)
    sets = labelled(train), labelled(train), labelled(database)
    rows = torch.tensor([-1, 3, -1, 1])
    data = HashingData("x", *sets, "", rows)
    assert torch.equal(label_codes(centers[train], data), centers[database])
    # A class that no training image has.
    strange = replace(data, database=labelled(torch.tensor([2, 1, 3, 0, 2])))
    assert label_codes(centers[train], strange) is None


def test_images_with_several_labels_have_a_code_where_they_are_trained_on():
    labels = torch.tensor([[1, 1, 0], [0, 1, 1]]).bool()
    train, database = labelled(labels), labelled(labels[[1, 0]])
    data = HashingData("x", train, train, database, "", torch.tensor([1, 0]))
    codes = torch.tensor([[5], [6]], dtype=torch.uint8)
    assert label_codes(codes, data).tolist() == [[6], [5]]
    other = replace(data, database=labelled(labels[[1, 0, 0]]))
    assert label_codes(codes, other) is None


@pytest.mark.parametrize("of_classes", [True, False])
def test_the_file_of_codes_says_whether_they_are_of_classes(tmp_path, of_classes):
    codes, labels = torch.tensor([[1], [2]], dtype=torch.uint8), torch.tensor([0, 1])
    save_codes(tmp_path / "c.safetensors", LearnedCodes(codes, of_classes), labels, 8)
    found = load_codes(tmp_path / "c.safetensors", labels)
    assert torch.equal(found.codes, codes) and found.of_classes is of_classes
    assert load_codes(tmp_path / "none.safetensors", labels) is None
    with pytest.raises(ValueError, match="for training images with other labels"):
        load_codes(tmp_path / "c.safetensors", torch.tensor([0, 2]))
    (tmp_path / "c.safetensors").write_bytes(b"x" * 20)
    with pytest.raises(ValueError, match="c.safetensors is damaged"):
        load_codes(tmp_path / "c.safetensors", labels)
