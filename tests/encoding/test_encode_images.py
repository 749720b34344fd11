"""Streams of images become the gallery that encoding them at once gives, whatever stops it."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from semicon_fast import models
from semicon_fast.data import transforms
from semicon_fast.data.decode import decode
from semicon_fast.data.passed_over import HIDDEN, LINKED_IMAGES
from semicon_fast.encoding import Options, Runner, encode_images
from semicon_fast.encoding.checkpoint import EncodingCheckpoint
from semicon_fast.search import HammingIndex, pack_codes
from semicon_fast.search.gallery import Gallery

COUNT = 30


def network(bits=12, seed=0):
    model = models.build({"network": "small", "code_length": bits, "width": 4}, seed=seed)
    model.preprocess = transforms.build("small", 16, False).config()
    return model


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photos")
    rng = np.random.default_rng(0)
    for i in range(COUNT):
        path = folder / f"{i % 3}" / f"{i:03}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(rng.integers(0, 255, (16, 16 + i % 2, 3), dtype=np.uint8)).save(path)
    return folder


def content(folder):
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def options(**changed):
    return Options(**{"batch_size": 4, "part_images": 8, "workers": 0, **changed})


@pytest.fixture(scope="module")
def whole(photos, tmp_path_factory):
    """The gallery of an encoding that nothing stopped."""
    folder = tmp_path_factory.mktemp("whole") / "gallery"
    encode_images(network(), [photos], folder, options=options(index=True))
    return folder


def test_codes_are_those_of_the_network_and_nothing_else_is_left(photos, whole):
    gallery = Gallery.open(whole)
    paths = sorted(photos.rglob("*.png"))
    assert gallery.images == [str(path) for path in paths]
    assert gallery.labels == [path.parent.name for path in paths]
    model = network().eval()
    transform = transforms.from_config(model.preprocess)
    with torch.no_grad():
        codes = model(transform([decode(path) for path in paths])).codes
    differ = np.unpackbits(gallery.codes ^ pack_codes(codes).numpy(), bitorder="little")
    at = torch.from_numpy(differ.reshape(COUNT, -1)[:, :12].astype(bool))
    assert (codes[at].abs() < 1e-5).all()
    assert np.array_equal(HammingIndex.load(whole / "index.hamming").reconstruct(range(COUNT)),
                          gallery.codes)  # fmt: skip
    assert [path.name for path in whole.parent.iterdir()] == ["gallery"]


@pytest.mark.parametrize("changed", [{"workers": 2}, {"part_images": 100}, {"part_images": 1}])
def test_workers_and_parts_do_not_change_a_byte(photos, whole, tmp_path, changed):
    made = encode_images(
        network(), [photos], tmp_path / "g", options=options(index=True, **changed)
    )
    assert content(tmp_path / "g") == content(whole)
    assert (made.count, made.encoded, made.bits, made.broken) == (COUNT, COUNT, 12, [])


class Stopped(Exception):
    pass


def stop_at(images):
    def progress(done, total):
        if done >= images:
            raise Stopped

    return progress


def test_a_stopped_encoding_goes_on_with_the_parts_it_has(photos, whole, tmp_path):
    output = tmp_path / "g"
    with pytest.raises(Stopped):
        encode_images(
            network(), [photos], output, options=options(index=True), progress=stop_at(20)
        )
    assert not output.exists() and len(list((tmp_path / "g.parts").glob("part-*"))) == 2
    with pytest.raises(ValueError, match="was begun.*continue with --resume"):
        encode_images(network(), [photos], output, options=options())
    made = encode_images(network(), [photos], output, options=options(index=True), resume=True)
    assert made.encoded == COUNT - 16 and content(output) == content(whole)
    again = encode_images(network(), [photos], output, options=options(), resume=True)
    assert again.encoded == 0 and again.count == COUNT and content(output) == content(whole)


def test_the_catalog_keeps_what_was_listed_first(photos, tmp_path):
    import shutil

    copy = tmp_path / "photos"
    shutil.copytree(photos, copy)
    with pytest.raises(Stopped):
        encode_images(network(), [copy], tmp_path / "g", options=options(), progress=stop_at(9))
    shutil.copy(copy / "0" / "000.png", copy / "0" / "aaa.png")
    made = encode_images(network(), [copy], tmp_path / "g", options=options(), resume=True)
    assert made.count == COUNT and "aaa" not in (tmp_path / "g" / "images.csv").read_text()


def test_what_was_passed_over_is_kept_by_a_stopped_encoding(photos, tmp_path):
    import shutil

    copy, output = tmp_path / "photos", tmp_path / "g"
    shutil.copytree(photos, copy)
    (copy / "0" / "._000.png").write_bytes(b"x")
    counts = {HIDDEN: 1, LINKED_IMAGES: 1}
    (copy / "1" / "again.png").symlink_to(copy / "0" / "000.png")
    whole = encode_images(network(), [copy], tmp_path / "whole", options=options())
    assert whole.passed_over == counts and whole.count == COUNT
    with pytest.raises(Stopped):
        encode_images(network(), [copy], output, options=options(), progress=stop_at(9))
    (copy / "0" / "._001.png").write_bytes(b"x")
    made = encode_images(network(), [copy], output, options=options(), resume=True)
    assert made.passed_over == counts and content(output) == content(tmp_path / "whole")
    again = encode_images(network(), [copy], output, options=options(), resume=True)
    assert again.passed_over == counts


@pytest.mark.parametrize(
    "other, sentence",
    [
        ({"network": network(seed=1)}, "another weights"),
        ({"network": network(bits=16)}, "another weights"),
        ({"options": options(batch_size=8)}, "another batch_size: 4 then, 8 now"),
        ({"options": options(precision="bf16")}, "another precision"),
        ({"images": ["."]}, "another images"),
    ],
)
def test_parts_of_something_else_are_not_gone_on_with(photos, tmp_path, other, sentence):
    given = {"network": network(), "images": [photos], "options": options()}
    with pytest.raises(Stopped):
        encode_images(**given, output=tmp_path / "g", progress=stop_at(9))
    with pytest.raises(ValueError, match=sentence):
        encode_images(**{**given, **other}, output=tmp_path / "g", resume=True)
    encode_images(**given, output=tmp_path / "g", overwrite=True)
    assert len(Gallery.open(tmp_path / "g")) == COUNT


def test_broken_files_are_named_kept_apart_and_tried_again(tmp_path):
    rng = np.random.default_rng(1)
    names = [tmp_path / "in" / f"{i}.png" for i in range(6)]
    names[0].parent.mkdir()
    for path in names:
        Image.fromarray(rng.integers(0, 255, (16, 16, 3), dtype=np.uint8)).save(path)
    mended = names[4].read_bytes()
    names[1].write_bytes(b"words")
    names[4].write_bytes(b"")
    given = {"network": network(), "images": [names[0].parent], "output": tmp_path / "g"}
    small = options(batch_size=2, part_images=2)
    with pytest.raises(ValueError, match="2 of 6 images do not decode.*1.png.*4.png.*--resume"):
        encode_images(**given, options=small)
    names[4].write_bytes(mended)
    with pytest.raises(ValueError, match="1 of 6 images do not decode"):
        encode_images(**given, options=small, resume=True)
    skip = options(batch_size=2, part_images=2, on_broken="skip")
    made = encode_images(**given, options=skip, resume=True)
    assert made.count == 5 and made.encoded == 0 and "1.png" in made.broken[0]
    assert [Path(n).name[0] for n in Gallery.open(tmp_path / "g").images] == list("02345")


def test_nothing_readable_is_an_error(tmp_path):
    (tmp_path / "x.png").write_bytes(b"words")
    skip = options(on_broken="skip")
    with pytest.raises(ValueError, match="no image could be read"):
        encode_images(network(), [tmp_path / "x.png"], tmp_path / "g", options=skip)
    assert [path.name for path in tmp_path.iterdir()] == ["x.png"]


def test_damage_to_what_was_left_is_named(photos, tmp_path):
    given = {"network": network(), "images": [photos], "output": tmp_path / "g"}
    with pytest.raises(Stopped):
        encode_images(**given, options=options(), progress=stop_at(20))
    checkpoint = EncodingCheckpoint(tmp_path / "g")
    part = checkpoint.folder / "part-000000.safetensors"
    part.write_bytes(part.read_bytes()[:100])
    with pytest.raises(ValueError, match="part-000000.* is damaged.*remove it and resume"):
        encode_images(**given, options=options(), resume=True)
    (checkpoint.folder / "manifest.json").write_text("{")
    with pytest.raises(ValueError, match="manifest.json cannot be read"):
        encode_images(**given, options=options(), resume=True)


@pytest.mark.parametrize(
    "wrong, sentence",
    [
        ({"batch_size": 0}, "batch_size and part_images must be at least 1"),
        ({"on_broken": "no"}, 'on_broken must be "error" or "skip", got \'no\''),
        ({"workers": -1}, "workers must be 0 or more, got -1"),
    ],
)
def test_wrong_options_are_refused(wrong, sentence):
    with pytest.raises(ValueError, match=sentence):
        Options(**wrong)


def test_a_runner_says_what_it_cannot_run():
    with pytest.raises(ValueError, match="precision must be one of fp32, bf16, fp16, got 'int8'"):
        Runner(network(), precision="int8")
    unknown = network()
    unknown.preprocess = None
    with pytest.raises(ValueError, match="does not say how its images were prepared"):
        Runner(unknown)
    bad = network()
    bad.hash.weight.data[0] = float("nan")
    with pytest.raises(ValueError, match="outputs are not finite"):
        Runner(bad)(torch.zeros(2, 3, 16, 16, dtype=torch.uint8))


def test_a_runner_takes_bf16_and_batches_of_any_size():
    runner = Runner(network(48), precision="bf16")
    pixels = torch.randint(0, 255, (5, 3, 16, 16), dtype=torch.uint8)
    codes = runner(pixels)
    assert codes.shape == (5, 6) and runner(pixels[:0]).shape == (0, 6)
    streamed = list(runner.stream([(pixels[:2], "a"), (pixels[2:], "b")]))
    assert np.array_equal(np.concatenate([c for c, _ in streamed]), codes)
    assert [rest for _, rest in streamed] == ["a", "b"]


def test_a_listing_that_fails_leaves_no_checkpoint(photos, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="no image below"):
        encode_images(network(), [photos, tmp_path / "empty"], tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["empty"]
