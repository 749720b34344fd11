"""The official layouts of the fine-grained data sets, in small."""

from pathlib import Path

import pytest

from semicon_fast.data import aircraft, cub, food101, load, nabirds, vegfru


def write(path: Path, *lines: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in lines))


def make_cub(root: Path, paint) -> Path:
    paths = [f"{c:03}.Bird_{c}/p{i}.jpg" for c in (1, 2) for i in range(3)]
    for path in paths:
        paint(root / "images" / path)
    write(root / "images.txt", *(f"{i} {path}" for i, path in enumerate(paths, 1)))
    write(root / "image_class_labels.txt", "1 1", "2 1", "3 1", "4 2", "5 2", "6 2")
    write(root / "train_test_split.txt", "1 1", "2 0", "3 1", "4 1", "5 1", "6 0")
    return root


def make_nabirds(root: Path, paint) -> Path:
    """Two classes under the sparse ids 817 and 295."""
    paths = [f"0{c}/{i:032x}.jpg" for c in (817, 295) for i in range(3)]
    for path in paths:
        paint(root / "images" / path)
    keys = [f"0000139e-21dc-4d0c-bfe1-{i:012x}" for i in range(6)]
    write(root / "images.txt", *map(" ".join, zip(keys, paths, strict=True)))
    ids = ["817", "817", "817", "295", "295", "295"]
    write(root / "image_class_labels.txt", *map(" ".join, zip(keys, ids, strict=True)))
    flags = ["1", "0", "1", "1", "1", "0"]
    write(root / "train_test_split.txt", *map(" ".join, zip(keys, flags, strict=True)))
    write(root / "classes.txt", "0 Birds", "295 Wood Duck (Female)", "817 Oak Titmouse")
    return root


def make_aircraft(root: Path, paint) -> Path:
    write(root / "data" / "variants.txt", "707-320", "DC-9 30")
    numbers = [f"{i:07}" for i in range(6)]
    for number in numbers:
        paint(root / "data" / "images" / f"{number}.jpg")
    lines = [f"{n} {v}" for n, v in zip(numbers, ["DC-9 30", "707-320"] * 3, strict=True)]
    write(root / "data" / "images_variant_trainval.txt", *lines[:4])
    write(root / "data" / "images_variant_test.txt", *lines[4:])
    return root


def make_food101(root: Path, paint) -> Path:
    names = [f"{c}/{i}" for c in ("apple_pie", "waffles") for i in (11, 22, 33)]
    for name in names:
        paint(root / "images" / f"{name}.jpg")
    write(root / "meta" / "classes.txt", "apple_pie", "waffles")
    write(root / "meta" / "labels.txt", "Apple pie", "Waffles")
    write(root / "meta" / "train.txt", *(name for name in names if "33" not in name))
    write(root / "meta" / "test.txt", *(name for name in names if "33" in name))
    return root


def make_vegfru(root: Path, paint) -> Path:
    folders = ["veg200_images/bitter melon", "fru92_images/banana"]
    for part, count in (("train", 2), ("val", 1), ("test", 1)):
        lines = []
        for label, folder in enumerate(folders):
            for i in range(count):
                lines.append(f"{folder}/{part}_{i}.jpg {label}")
                paint(root / folder / f"{part}_{i}.jpg")
        write(root / "vegfru_list" / f"vegfru_{part}.txt", *lines)
    return root


MAKERS = {
    "cub": make_cub,
    "nabirds": make_nabirds,
    "aircraft": make_aircraft,
    "food101": make_food101,
    "vegfru": make_vegfru,
}


def listed(images) -> list[tuple[str, int]]:
    return [(images.identifier(i), int(images.labels[i])) for i in range(len(images))]


@pytest.mark.parametrize("name", MAKERS)
def test_training_images_are_the_database_and_share_nothing_with_the_queries(name, tmp_path, paint):
    data = load(name, MAKERS[name](tmp_path, paint), check_counts=False, verify=True)
    assert (len(data.train), len(data.query), len(data.train.classes)) == (4, 2, 2)
    assert data.database is data.train
    train, query = ({path for path, _ in listed(part)} for part in (data.train, data.query))
    assert train.isdisjoint(query) and len(train) == 4 and len(query) == 2
    assert data.name == data.train.name == name
    assert "2 queries against 4 database images" in data.protocol


@pytest.mark.parametrize("name", MAKERS)
def test_other_counts_than_the_official_ones_are_refused(name, tmp_path, paint):
    with pytest.raises(ValueError, match="must have .* training images.*found 2 classes, 4 train"):
        load(name, MAKERS[name](tmp_path, paint))


@pytest.mark.parametrize("name", MAKERS)
def test_a_missing_image_is_named(name, tmp_path, paint):
    root = MAKERS[name](tmp_path, paint)
    gone = sorted(root.rglob("*.jpg"))[0]
    gone.unlink()
    with pytest.raises(ValueError, match=f"1 listed images of {name} are missing.*{gone.name}"):
        load(name, root, check_counts=False)


@pytest.mark.parametrize("name", MAKERS)
def test_a_folder_that_is_not_the_data_set_is_refused(name, tmp_path):
    with pytest.raises(ValueError, match="has no .*official layout"):
        load(name, tmp_path)


@pytest.mark.parametrize(
    ("name", "nested"),
    [
        ("cub", "CUB_200_2011"),
        ("nabirds", "nabirds"),
        ("aircraft", "fgvc-aircraft-2013b"),
        ("food101", "food-101"),
    ],
)
def test_the_folder_that_the_archive_unpacks_to_is_found(name, nested, tmp_path, paint):
    MAKERS[name](tmp_path / nested, paint)
    assert len(load(name, tmp_path, check_counts=False).train) == 4


def test_official_counts_are_the_published_ones():
    assert tuple(cub.OFFICIAL.values()) == (200, 5_994, 5_794)
    assert tuple(aircraft.OFFICIAL.values()) == (100, 6_667, 3_333)
    assert tuple(food101.OFFICIAL.values()) == (101, 75_750, 25_250)
    assert tuple(nabirds.OFFICIAL.values()) == (555, 23_929, 24_633)
    assert tuple(vegfru.OFFICIAL.values()) == (292, 29_200, 14_600, 116_931)


def test_cub_labels_are_class_numbers_less_one(tmp_path, paint):
    data = load("cub", make_cub(tmp_path, paint), check_counts=False)
    assert listed(data.query) == [("images/001.Bird_1/p1.jpg", 0), ("images/002.Bird_2/p2.jpg", 1)]
    assert data.train.classes == ("001.Bird_1", "002.Bird_2")


def test_cub_files_must_list_the_same_images(tmp_path, paint):
    write(make_cub(tmp_path, paint) / "train_test_split.txt", "1 1", "2 0", "9 1")
    with pytest.raises(ValueError, match="must list the same images, 5 are in only one of them"):
        load("cub", tmp_path, check_counts=False)


@pytest.mark.parametrize(
    ("line", "message"),
    [("3 x", "has class 'x'"), ("3 0", "has class '0'"), ("3 999999999", "a label 999999998")],
)
def test_cub_class_numbers_out_of_range_are_refused(line, message, tmp_path, paint):
    root = make_cub(tmp_path, paint)
    write(root / "image_class_labels.txt", "1 1", "2 1", line, "4 2", "5 2", "6 2")
    with pytest.raises(ValueError, match=message):
        load("cub", root, check_counts=False)


def test_nabirds_labels_are_positions_among_the_sorted_ids(tmp_path, paint):
    data = load("nabirds", make_nabirds(tmp_path, paint), check_counts=False)
    assert data.train.classes == ("Wood Duck (Female)", "Oak Titmouse")
    assert [label for _, label in listed(data.train)] == [1, 1, 0, 0]


def test_aircraft_variants_may_have_spaces(tmp_path, paint):
    data = load("aircraft", make_aircraft(tmp_path, paint), check_counts=False)
    assert data.train.classes == ("707-320", "DC-9 30")
    assert listed(data.query) == [("images/0000004.jpg", 1), ("images/0000005.jpg", 0)]


def test_aircraft_with_an_unknown_variant_is_refused(tmp_path, paint):
    root = make_aircraft(tmp_path, paint)
    write(root / "data" / "images_variant_test.txt", "0000004 Concorde")
    with pytest.raises(ValueError, match="names a variant 'Concorde'"):
        load("aircraft", root, check_counts=False)


def test_food101_lists_name_files_without_their_suffix(tmp_path, paint):
    data = load("food101", make_food101(tmp_path, paint), check_counts=False)
    assert listed(data.query) == [("images/apple_pie/33.jpg", 0), ("images/waffles/33.jpg", 1)]


def test_food101_with_an_unknown_class_is_refused(tmp_path, paint):
    write(make_food101(tmp_path, paint) / "meta" / "test.txt", "waffles/33", "soup/1")
    with pytest.raises(ValueError, match="known classes, got 'soup/1'"):
        load("food101", tmp_path, check_counts=False)


def test_vegfru_leaves_validation_out_or_merges_it(tmp_path, paint):
    root = make_vegfru(tmp_path, paint)
    data = load("vegfru", root, check_counts=False)
    assert listed(data.query)[0] == ("veg200_images/bitter melon/test_0.jpg", 0)
    assert data.train.classes == ("bitter melon", "banana")
    merged = load("vegfru", root, validation="train", check_counts=False)
    assert set(listed(merged.train)) - set(listed(data.train)) == {
        ("veg200_images/bitter melon/val_0.jpg", 0),
        ("fru92_images/banana/val_0.jpg", 1),
    }
    assert listed(merged.query) == listed(data.query)
    with pytest.raises(ValueError, match='validation must be "unused" or "train"'):
        load("vegfru", root, validation="query")


def test_vegfru_lines_without_a_label_are_refused(tmp_path, paint):
    root = make_vegfru(tmp_path, paint)
    write(root / "vegfru_list" / "vegfru_val.txt", "fru92_images/banana/val_0.jpg")
    with pytest.raises(ValueError, match=r'vegfru_val.txt line 1 must be "path label"'):
        load("vegfru", root, check_counts=False)


def test_unknown_names_and_options_are_refused(tmp_path):
    with pytest.raises(ValueError, match="name must be one of cub, aircraft, .*got 'cars'"):
        load("cars", tmp_path)
    with pytest.raises(ValueError, match="options of cub are check_counts, got seed"):
        load("cub", tmp_path, seed=1)
