"""Features of images: those of the network, in one file, whatever stops the extraction."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

from semicon_fast import models
from semicon_fast.data import open_vectors, transforms
from semicon_fast.data.decode import decode
from semicon_fast.encoding import Options, encode_images, extract_features

COUNT = 14


def network(seed=0):
    model = models.build({"network": "small", "code_length": 12, "width": 4}, seed=seed)
    model.preprocess = transforms.build("small", 16, False).config()
    return model


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photos")
    rng = np.random.default_rng(0)
    for i in range(COUNT):
        path = folder / f"{i % 3}" / f"{i:03}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(rng.integers(0, 255, (16, 16, 3), dtype=np.uint8)).save(path)
    return folder


def options(**changed):
    return Options(**{"batch_size": 4, "part_images": 4, "workers": 0, **changed})


@pytest.fixture(scope="module")
def whole(photos, tmp_path_factory):
    file = tmp_path_factory.mktemp("whole") / "f.npz"
    made = extract_features(network(), [photos], file, options=options(), about={"model": "m"})
    assert (made.count, made.width, made.encoded, made.broken) == (COUNT, 16, COUNT, [])
    return file


def test_features_are_those_of_the_network_with_names_and_labels(photos, whole):
    found = open_vectors(whole)
    paths = sorted(photos.rglob("*.png"))
    assert found.names == [str(path) for path in paths]
    assert found.labels == [path.parent.name for path in paths]
    model = network().eval()
    with torch.no_grad():
        images = transforms.from_config(model.preprocess)([decode(path) for path in paths])
        wanted = model(images).features.numpy()
    assert found.array().dtype == np.float32
    np.testing.assert_allclose(found.array(), wanted, rtol=1e-4, atol=1e-5)
    with np.load(whole) as arrays:
        about = json.loads(str(arrays["about"]))
    assert about["count"] == COUNT and about["model"] == "m" and about["broken"] == []
    assert [path.name for path in whole.parent.iterdir()] == ["f.npz"]


class Stopped(Exception):
    pass


def stop(done, total):
    if done >= 8:
        raise Stopped


def test_a_stopped_extraction_goes_on_to_the_same_bytes(photos, whole, tmp_path):
    file = tmp_path / "f.npz"
    given = {"options": options(), "about": {"model": "m"}}
    with pytest.raises(Stopped):
        extract_features(network(), [photos], file, progress=stop, **given)
    assert not file.exists() and len(list((tmp_path / "f.npz.parts").glob("part-*"))) == 2
    with pytest.raises(ValueError, match="was begun.*continue with --resume"):
        extract_features(network(), [photos], file, **given)
    with pytest.raises(ValueError, match="another weights"):
        extract_features(network(1), [photos], file, resume=True, **given)
    made = extract_features(network(), [photos], file, resume=True, **given)
    assert made.encoded == COUNT - 8 and file.read_bytes() == whole.read_bytes()
    again = extract_features(network(), [photos], file, resume=True, **given)
    assert (again.encoded, again.count) == (0, COUNT) and file.read_bytes() == whole.read_bytes()
    assert [path.name for path in tmp_path.iterdir()] == ["f.npz"]


def test_parts_of_codes_are_not_taken_for_features(photos, tmp_path):
    with pytest.raises(Stopped):
        encode_images(network(), [photos], tmp_path / "f.npz", options=options(), progress=stop)
    with pytest.raises(ValueError, match='another output: "codes" then, "features" now'):
        extract_features(network(), [photos], tmp_path / "f.npz", options=options(), resume=True)


def test_nothing_is_replaced_unless_told_and_no_other_file_is_taken(photos, whole, tmp_path):
    (tmp_path / "f.npz").write_bytes(b"mine")
    for resume in (False, True):
        with pytest.raises(FileExistsError, match="f.npz exists already"):
            extract_features(network(), [photos], tmp_path / "f.npz", resume=resume)
    extract_features(network(), [photos], tmp_path / "f.npz", options=options(), overwrite=True)
    assert np.array_equal(open_vectors(tmp_path / "f.npz").array(), open_vectors(whole).array())
    with pytest.raises(ValueError, match=r"output must end in \.npz, got .*x\.npy"):
        extract_features(network(), [photos], tmp_path / "x.npy")


def test_broken_images_are_left_out_or_an_error(photos, tmp_path):
    (tmp_path / "in").mkdir()
    good = next(photos.rglob("*.png")).read_bytes()
    (tmp_path / "in" / "a.png").write_bytes(good)
    (tmp_path / "in" / "b.png").write_bytes(b"words")
    given = network(), [tmp_path / "in"], tmp_path / "f.npz"
    with pytest.raises(ValueError, match="1 of 2 images do not decode.*b.png"):
        extract_features(*given, options=options())
    skip = options(on_broken="skip")
    made = extract_features(*given, options=skip, resume=True)
    assert made.count == 1 and "b.png" in made.broken[0]
    assert [name[-5:] for name in open_vectors(given[2]).names] == ["a.png"]
