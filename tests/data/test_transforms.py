"""Transforms: shapes, values, and random numbers from the generator alone."""

import json
import pickle

import pytest
import torch
from torchvision.transforms.v2 import functional as F

from semicon_fast.data import build, from_config
from semicon_fast.data.transforms import IMAGENET_MEAN, IMAGENET_STD, RECIPES, _crop_box

MEAN = torch.tensor(IMAGENET_MEAN).view(3, 1, 1)
STD = torch.tensor(IMAGENET_STD).view(3, 1, 1)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def random_images(*shapes, seed=0):
    return [
        torch.randint(0, 256, (3, *shape), generator=generator(seed + i), dtype=torch.uint8)
        for i, shape in enumerate(shapes)
    ]


def pixels(batch):
    """Back to uint8."""
    return ((batch * STD + MEAN) * 255).round().to(torch.uint8)


@pytest.mark.parametrize("train", [True, False])
@pytest.mark.parametrize("recipe", RECIPES)
def test_any_sizes_give_one_normalised_batch(recipe, train):
    images = random_images((20, 30), (16, 16), (40, 9), (1, 1))
    batch = build(recipe, 16, train)(images, generator())
    assert batch.shape == (4, 3, 16, 16) and batch.dtype == torch.float32
    assert batch.isfinite().all()
    assert build(recipe, 16, train)([], generator()).shape == (0, 3, 16, 16)


def test_values_are_scaled_to_0_1_and_normalised():
    image = torch.tensor([0, 128, 255], dtype=torch.uint8).view(3, 1, 1).expand(3, 8, 8)
    got = build("plain", 8, False)([image])[0, :, 0, 0]
    wanted = (torch.tensor([0.0, 128 / 255, 1.0]) - MEAN.flatten()) / STD.flatten()
    assert torch.allclose(got, wanted, atol=1e-6)


@pytest.mark.parametrize("train", [True, False])
@pytest.mark.parametrize("recipe", RECIPES)
@pytest.mark.parametrize("shape", [(24, 36), (16, 16)])
def test_a_batch_of_one_size_equals_its_images_one_by_one(recipe, train, shape):
    images = random_images(*[shape] * 5)
    transform = build(recipe, 16, train)
    together = transform(torch.stack(images), generator())
    assert torch.equal(together, transform(images, generator()))
    # one of another size changes none of the others
    mixed = transform([*images[:4], *random_images((50, 20))], generator())
    assert torch.equal(mixed[:4], together[:4])


@pytest.mark.parametrize("recipe", RECIPES)
def test_augmentation_is_the_generators_and_leaves_the_global_state_alone(recipe):
    images = random_images(*[(24, 24)] * 8)
    transform = build(recipe, 16, True)
    state = torch.get_rng_state()
    first = transform(images, generator(1))
    assert torch.equal(torch.get_rng_state(), state)
    torch.rand(3)
    assert torch.equal(first, transform(images, generator(1)))
    assert not torch.equal(first, transform(images, generator(2)))


def test_a_training_transform_without_a_generator_is_refused():
    with pytest.raises(ValueError, match="draws its random numbers from `generator`"):
        build("plain", 8, True)(random_images((8, 8)))


def test_query_recipe_of_the_released_code_is_resize_and_centre_crop():
    (image,) = random_images((300, 400))
    got = build("imagenet", 224, False)([image])
    resized = F.resize(image, [256], antialias=True)
    left = round((resized.shape[2] - 224) / 2)
    assert torch.equal(pixels(got)[0], resized[:, 16:240, left : left + 224])


def test_small_images_at_their_size_are_only_normalised():
    images = torch.stack(random_images((32, 32), (32, 32)))
    for recipe in ("small", "plain"):
        assert torch.equal(pixels(build(recipe, 32, False)(images)), images)


def test_small_training_images_are_windows_of_the_reflected_image():
    (image,) = random_images((16, 16))
    batch = pixels(build("small", 16, True)(image.expand(200, 3, 16, 16), generator()))
    padded = torch.nn.functional.pad(image[None].float(), (2, 2, 2, 2), "reflect")[0].byte()
    windows = {
        (top, left, mirrored): (
            padded[:, top : top + 16, left : left + 16].flip(2)
            if mirrored
            else padded[:, top : top + 16, left : left + 16]
        )
        for top in range(5)
        for left in range(5)
        for mirrored in (False, True)
    }
    seen = {
        next(place for place, window in windows.items() if torch.equal(window, got))
        for got in batch
    }
    assert {place[2] for place in seen} == {False, True} and len(seen) > 40


def test_plain_training_images_are_mirrored_half_of_the_time():
    (image,) = random_images((8, 8))
    batch = pixels(build("plain", 8, True)(image.expand(400, 3, 8, 8), generator()))
    mirrored = (batch == image.flip(2)).flatten(1).all(1)
    assert (mirrored | (batch == image).flatten(1).all(1)).all()
    assert 150 < mirrored.sum() < 250


@pytest.mark.parametrize(("least", "recipe"), [(0.08, "imagenet"), (0.4, "mild")])
def test_random_crops_have_the_areas_and_ratios_of_their_recipe(least, recipe):
    draws = torch.rand(500, 10, 4, generator=generator(), dtype=torch.float64).tolist()
    boxes = [_crop_box(200, 300, least, draw) for draw in draws]
    for top, left, rows, columns in boxes:
        assert top >= 0 and left >= 0 and top + rows <= 200 and left + columns <= 300
        assert 0.74 < columns / rows < 1.35
    shares = [rows * columns / 60_000 for _, _, rows, columns in boxes]
    assert least - 0.01 < min(shares) < least + 0.05 and max(shares) > 0.7
    assert len({top for top, *_ in boxes}) > 30
    # the recipe uses that scale: gradients of a ramp shrink with the crop
    ramp = torch.arange(256, dtype=torch.uint8).expand(3, 256, 256)
    widths = pixels(build(recipe, 8, True)(ramp.expand(200, 3, 256, 256), generator()))
    spans = (widths[:, 0, 0, -1].int() - widths[:, 0, 0, 0].int()).abs()
    assert spans.min() >= 256 * (least * 0.75) ** 0.5 * 7 / 8 - 8


def test_a_picture_too_long_for_any_crop_gives_its_largest_middle():
    draws = torch.full((10, 4), 0.999).tolist()
    assert _crop_box(10, 1000, 0.08, draws) == (0, 493, 10, 13)
    assert _crop_box(1000, 10, 0.08, draws) == (493, 0, 13, 10)


def test_configuration_is_json_and_makes_the_query_transform_again():
    transform = build("mild", 24, True, mean=(0.1, 0.2, 0.3), std=(1.0, 2.0, 3.0))
    again = from_config(json.loads(json.dumps(transform.config())))
    assert again.config() == transform.config() and not again.train
    images = random_images((30, 40))
    assert torch.equal(again(images), build("mild", 24, False, (0.1, 0.2, 0.3), (1, 2, 3))(images))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ("x", 8, True),
            "recipe must be one of imagenet, mild, crop, small, strong, plain, got 'x'",
        ),
        (("plain", 0, True), "size must be a positive number"),
        (("plain", 8, True, (0, 0)), "mean and std must be three numbers"),
        (("plain", 8, True, (0, 0, 0), (1, 1, 0)), "std positive"),
    ],
)
def test_bad_recipes_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        build(*arguments)


@pytest.mark.parametrize(
    "images",
    [torch.zeros(2, 3, 8, 8), torch.zeros(3, 8, 8, dtype=torch.uint8), [torch.zeros(3, 8, 8)]],
    ids=["float", "one-image", "float-list"],
)
def test_other_images_than_uint8_rgb_are_refused(images):
    with pytest.raises(ValueError, match="images must be uint8"):
        build("plain", 8, False)(images)


def test_the_input_is_not_changed():
    images = torch.stack(random_images((8, 8), (8, 8)))
    before = images.clone()
    build("plain", 8, True)(images, generator())
    build("plain", 8, False)(images)
    assert torch.equal(images, before)


@pytest.mark.parametrize("recipe", RECIPES)
@pytest.mark.parametrize("height, width", [(64, 64), (90, 61), (61, 90), (300, 40), (7, 500)])
def test_what_is_seen_of_an_image_is_what_the_crop_keeps(recipe, height, width):
    transform = build(recipe, 56, train=False, mean=(0, 0, 0), std=(1, 1, 1))
    left, top, share, tall = transform.seen(height, width)
    rows = ((torch.arange(height) + 0.5) / height * 255)[:, None].expand(height, width)
    columns = ((torch.arange(width) + 0.5) / width * 255)[None, :].expand(height, width)
    image = torch.stack([rows, columns, columns]).round().to(torch.uint8)
    out = transform([image])[0]
    # The middle of the crop is the middle of what is seen; its slope says how much is seen.
    middle = out[:, 24:32, 24:32].mean((1, 2))
    assert float(middle[0]) == pytest.approx(top + tall / 2, abs=0.02)
    assert float(middle[1]) == pytest.approx(left + share / 2, abs=0.02)
    slope = (out[0, 40].mean() - out[0, 16].mean()) / 24 * 56
    assert float(slope) == pytest.approx(tall, rel=0.1, abs=0.02)
    slope = (out[1, :, 40].mean() - out[1, :, 16].mean()) / 24 * 56
    assert float(slope) == pytest.approx(share, rel=0.1, abs=0.02)


def test_constants_on_a_device_are_not_pickled():
    """A worker process would have to open the device to receive them."""
    transform = build("plain", 8, False)
    pixels = torch.arange(2 * 3 * 64, dtype=torch.uint8).view(2, 3, 8, 8)
    want = transform.normalised(pixels)
    pickled = pickle.dumps(transform)
    assert b"torch" not in pickled
    assert torch.equal(pickle.loads(pickled).normalised(pixels), want)
    assert torch.equal(transform.normalised(pixels), want)


def test_crop_takes_a_window_of_the_resized_image():
    image = random_images((48, 32))[0]
    resized = F.resize(image, [round(16 * 256 / 224)])
    for seed in range(5):
        crop = pixels(build("crop", 16, True)([image], generator(seed)))[0]
        found = [
            torch.equal(window, crop) or torch.equal(window.flip(2), crop)
            for top in range(resized.shape[1] - 15)
            for left in range(resized.shape[2] - 15)
            for window in [resized[:, top : top + 16, left : left + 16]]
        ]
        assert any(found)


def test_strong_is_small_with_one_square_erased():
    images = torch.full((64, 3, 16, 16), 255, dtype=torch.uint8)
    got = build("strong", 16, True).pixels(images, generator())
    erased = (got != 255).any(1)
    colour = torch.tensor([round(255 * m) for m in IMAGENET_MEAN], dtype=torch.uint8)
    assert bool((got.permute(0, 2, 3, 1)[erased] == colour).all())
    areas = erased.sum((1, 2))
    assert int(areas.max()) == 16 and int(areas.min()) >= 4 and len(areas.unique()) > 2
    for one in erased:
        rows, columns = one.any(1).sum(), one.any(0).sum()
        assert int(rows * columns) == int(one.sum())
