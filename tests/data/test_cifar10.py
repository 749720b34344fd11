"""CIFAR-10 from either layout, and the counts of its four protocols."""

import numpy as np
import pytest
import torch

from semicon_fast.data import load
from semicon_fast.data.cifar10 import CLASSES, OFFICIAL, TEST_FILE, TRAIN_FILES, split
from semicon_fast.data.passed_over import HIDDEN

LABELS = torch.arange(60_000) % 10


def parts(protocol, seed=0):
    return split(LABELS, 50_000, protocol, seed)


@pytest.mark.parametrize(
    ("protocol", "train", "query", "database"),
    [
        ("paper", 50_000, 10_000, 50_000),
        ("cifar10-2", 50_000, 10_000, 50_000),
        ("cifar10", 5_000, 1_000, 54_000),
        ("cifar10-1", 5_000, 1_000, 59_000),
    ],
)
def test_protocols_have_their_published_counts(protocol, train, query, database):
    rows = parts(protocol)
    assert tuple(map(len, rows)) == (train, query, database)
    for part in rows:
        counts = LABELS[part].bincount()
        assert counts.min() == counts.max() == len(part) // 10
        assert (part.diff() > 0).all()
    assert not set(rows.query.tolist()) & set(rows.database.tolist())
    assert not set(rows.query.tolist()) & set(rows.train.tolist())


def test_training_images_are_in_the_database_of_cifar10_1_only():
    inside = {
        protocol: len(set(parts(protocol).train.tolist()) & set(parts(protocol).database.tolist()))
        for protocol in ("cifar10", "cifar10-1", "paper")
    }
    assert inside == {"cifar10": 0, "cifar10-1": 5_000, "paper": 50_000}


def test_the_seed_draws_the_queries_and_both_protocols_draw_alike():
    assert torch.equal(parts("cifar10", 3).query, parts("cifar10-1", 3).query)
    assert torch.equal(parts("cifar10", 3).train, parts("cifar10-1", 3).train)
    assert not torch.equal(parts("cifar10", 3).query, parts("cifar10", 4).query)
    query = parts("cifar10").query
    assert (query < 50_000).any() and (query >= 50_000).any()


def test_a_class_too_small_for_the_protocol_is_refused():
    with pytest.raises(ValueError, match="more than 600 images of each class, class 0 has 6"):
        split(LABELS[:60], 50, "cifar10", 0)


@pytest.fixture
def binary(tmp_path):
    """Five training files of 4 records and a test file of 10, labels counting up."""
    rng = np.random.default_rng(0)
    number = 0
    for file in (*TRAIN_FILES, TEST_FILE):
        records = rng.integers(0, 256, (4 if file != TEST_FILE else 10, 3073), dtype=np.uint8)
        for record in records:
            record[0] = number % 10
            number += 1
        records.tofile(tmp_path / file)
    return tmp_path


def test_binary_version_is_read_record_by_record(binary):
    data = load("cifar10", binary, check_counts=False)
    assert (len(data.train), len(data.query)) == (20, 10)
    assert data.train.labels.tolist() == [i % 10 for i in range(20)]
    record = np.fromfile(binary / "data_batch_2.bin", dtype=np.uint8)[3073:][:3073]
    image = data.train.image(5)
    assert data.train.identifier(5) == "data_batch_2.bin#1"
    assert image.shape == (3, 32, 32)
    # red plane first, rows first
    assert image[0, 0, 1] == record[2] and image[2, 31, 31] == record[3072]


def test_binary_version_is_found_in_its_archive_folder(binary, tmp_path):
    nested = tmp_path / "root" / "cifar-10-batches-bin"
    nested.mkdir(parents=True)
    for file in binary.glob("*.bin"):
        file.rename(nested / file.name)
    assert len(load("cifar10", tmp_path / "root", check_counts=False).train) == 20


def test_image_folders_are_read_in_the_official_class_order(tmp_path, paint):
    for part, count in (("train", 2), ("test", 1)):
        for name in CLASSES:
            for i in range(count):
                paint(tmp_path / part / name / f"{i:04}.jpg", width=32, height=32)
    data = load("cifar10", tmp_path, check_counts=False)
    assert data.train.classes == CLASSES and data.train.labels.bincount().tolist() == [2] * 10
    assert data.query.identifier(3) == "test/cat/0000.jpg" and data.query.labels[3] == 3
    (tmp_path / "test" / "cat" / "._0000.jpg").write_bytes(b"x")
    assert load("cifar10", tmp_path, check_counts=False).passed_over == {HIDDEN: 1}
    (tmp_path / "test" / "cat" / "0000.jpg").unlink()
    with pytest.raises(ValueError, match="must have the class folders airplane, "):
        load("cifar10", tmp_path, check_counts=False)
    (tmp_path / "test" / "cat" / "._0000.jpg").unlink()
    (tmp_path / "test" / "cat").rmdir()
    with pytest.raises(ValueError, match="must have the class folders airplane, "):
        load("cifar10", tmp_path, check_counts=False)


def test_rows_of_training_images_in_the_database(monkeypatch, binary):
    monkeypatch.setattr("semicon_fast.data.cifar10.split", smaller_split)
    inside = load("cifar10", binary, protocol="cifar10-1", check_counts=False)
    assert (len(inside.train), len(inside.query), len(inside.database)) == (10, 10, 20)
    for row, place in enumerate(inside.train_rows.tolist()):
        assert inside.train.identifier(row) == inside.database.identifier(place)
    outside = load("cifar10", binary, protocol="cifar10", check_counts=False)
    assert len(outside.database) == 10 and (outside.train_rows == -1).all()
    cached = inside.cached()
    assert torch.equal(cached.train.image(3), inside.train.image(3))


def smaller_split(labels, official, protocol, seed):
    return split(labels, official, protocol, seed, query_per_class=1, train_per_class=1)


def test_python_version_is_refused_by_a_sentence_and_never_opened(tmp_path):
    (tmp_path / "data_batch_1").write_bytes(b"cos\nsystem\n")
    with pytest.raises(ValueError, match="pickled; use the binary version"):
        load("cifar10", tmp_path)


def test_damaged_binary_files_are_refused(binary):
    content = (binary / TEST_FILE).read_bytes()
    (binary / TEST_FILE).write_bytes(content[:-1])
    with pytest.raises(ValueError, match="must be records of 3073 bytes, its size is 30729 bytes"):
        load("cifar10", binary, check_counts=False)
    (binary / TEST_FILE).write_bytes(b"\x0a" + content[1:])
    with pytest.raises(ValueError, match="has a label 10"):
        load("cifar10", binary, check_counts=False)
    (binary / TRAIN_FILES[2]).unlink()
    with pytest.raises(ValueError, match="there is no file .*data_batch_3.bin"):
        load("cifar10", binary, check_counts=False)


def test_other_counts_and_protocols_are_refused(binary, tmp_path):
    assert tuple(OFFICIAL.values()) == (50_000, 10_000)
    with pytest.raises(ValueError, match="must have 50,000 training images.* found 20 training"):
        load("cifar10", binary)
    with pytest.raises(ValueError, match="protocol must be one of paper, .* got 'x'"):
        load("cifar10", binary, protocol="x")
    (tmp_path / "none").mkdir()
    with pytest.raises(ValueError, match="has neither test_batch.bin"):
        load("cifar10", tmp_path / "none")
