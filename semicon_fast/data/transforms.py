"""Transforms from decoded images to network input; all randomness comes from a given generator."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import torch
from torch import Generator, Tensor

from . import resizing

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
# Smallest area of a random crop as a fraction of the image; the released training code uses 0.08.
CROP_SCALE = {"imagenet": 0.08, "mild": 0.4}
CROP_RATIO = (3 / 4, 4 / 3)
CROP_ATTEMPTS = 10
RECIPES = ("imagenet", "mild", "crop", "small", "strong", "plain")
# Those whose query transform cuts the centre out; the others resize to the exact size.
CENTRED = ("imagenet", "mild", "crop")


class Transform:
    """Transform of uint8 images (3, H, W) of any size to normalised float32 (B, 3, size, size).

    recipe      training                                        query
    "imagenet"  random resized crop of 8-100 % of the area,     shorter side resized to
                random horizontal flip                          round(size * 256 / 224), centre crop
    "mild"      the same with 40-100 % of the area              the same
    "crop"      the same resizing as for queries, random crop,  the same
                random horizontal flip
    "small"     reflection padding of size // 8, random crop,   unchanged
                random horizontal flip
    "strong"    the same, then a random square of side          unchanged
                size // 4 in the mean colour
    "plain"     random horizontal flip                          unchanged

    "small", "strong" and "plain" first resize images of another size to size x size, ignoring the
    aspect ratio.

    Args:
        recipe: one of `RECIPES`.
        size: side of the output in pixels.
        train: the training transform rather than the query transform.
        mean: mean of each channel, in units of 0..1.
        std: standard deviation of each channel, in units of 0..1.

    Raises:
        ValueError: an argument is out of range.
    """

    def __init__(
        self,
        recipe: str,
        size: int,
        train: bool,
        mean: Sequence[float] = IMAGENET_MEAN,
        std: Sequence[float] = IMAGENET_STD,
    ) -> None:
        if recipe not in RECIPES:
            raise ValueError(f"recipe must be one of {', '.join(RECIPES)}, got {recipe!r}")
        if size < 1:
            raise ValueError(f"size must be a positive number of pixels, got {size}")
        if len(mean) != 3 or len(std) != 3 or min(std) <= 0:
            raise ValueError(f"mean and std must be three numbers, std positive: {mean}, {std}")
        self.recipe, self.size, self.train = recipe, int(size), bool(train)
        resizing.require()
        self.mean, self.std = tuple(map(float, mean)), tuple(map(float, std))
        self._constants: dict[torch.device, tuple[Tensor, ...]] = {}

    def __getstate__(self) -> dict[str, Any]:
        # Without constants on a device: a worker process would have to open it to receive them.
        return {**vars(self), "_constants": {}}

    def __repr__(self) -> str:
        return f"Transform({self.recipe!r}, size={self.size}, train={self.train})"

    def config(self) -> dict[str, Any]:
        """A JSON-serialisable description, from which `from_config` rebuilds the transform."""
        return {
            "recipe": self.recipe,
            "size": self.size,
            "mean": list(self.mean),
            "std": list(self.std),
        }

    def seen(self, height: int, width: int) -> tuple[float, float, float, float]:
        """The region of an image that the query transform keeps: (left, top, width, height) as
        fractions of the image."""
        if self.recipe not in CENTRED:
            return 0.0, 0.0, 1.0, 1.0
        shorter = round(self.size * 256 / 224)
        # As in torchvision: the longer side is rounded down, the crop's corner to nearest.
        rows, columns = (int(shorter * s / min(height, width)) for s in (height, width))
        left, top = (round((side - self.size) / 2) / side for side in (columns, rows))
        return left, top, self.size / columns, self.size / rows

    def __call__(
        self,
        images: Tensor | Iterable[Tensor],
        generator: Generator | None = None,
        *,
        at: int = 0,
        of: int | None = None,
    ) -> Tensor:
        """normalised(pixels(...)): float32 (B, 3, size, size)."""
        return self.normalised(self.pixels(images, generator, at=at, of=of))

    def pixels(
        self,
        images: Tensor | Iterable[Tensor],
        generator: Generator | None = None,
        *,
        at: int = 0,
        of: int | None = None,
    ) -> Tensor:
        """Crop, resize and flip: uint8 (B, 3, size, size), a quarter of the bytes of float32 for
        the copy to a device.

        Args:
            images: uint8 (B, 3, H, W), or an iterable of uint8 (3, H, W) of any sizes. Each image
                is processed before the next one is requested, so that an iterator that decodes
                holds one image at a time.
            generator: source of random numbers; required by training transforms.
            at: position of the first image in its batch.
            of: size of that batch; None: the number of images. Random numbers are drawn for the
                whole batch, so that an image does not depend on how the batch is split.
        """
        if not self.train:
            return self._query(_checked_images(images))
        if generator is None:
            raise ValueError("a training transform draws its random numbers from `generator`")
        if of is None:
            images = images if isinstance(images, Tensor) else list(images)
            of = len(images)
        place, flipped = (numbers[at:] for numbers in self._draw_randomness(of, generator))
        checked = _checked_images(images)
        if self.recipe in CENTRED:
            return _stack(
                [
                    self._random_crop(image, place[i].tolist(), bool(flipped[i]))
                    for i, image in enumerate(checked)
                ],
                self.size,
            )
        batch = self._query(checked)
        place = place[: len(batch)]
        batch = _shift_and_flip(batch, place[:, 0], place[:, 1], flipped[: len(batch)])
        if self.recipe == "strong":
            colour = torch.tensor([round(255 * m) for m in self.mean], dtype=torch.uint8)
            _erase(batch, place[:, 2], place[:, 3], self.size // 4, colour)
        return batch

    def normalised(self, pixels: Tensor) -> Tensor:
        """uint8 (B, 3, S, S) on any device -> (p / 255 - mean) / std as float32 on that device."""
        if pixels.device not in self._constants:
            mean = torch.tensor(self.mean).view(3, 1, 1)
            std = torch.tensor(self.std).view(3, 1, 1)
            # Cached per device: copying them at every batch would synchronise with the device.
            made = tuple(x.to(pixels.device) for x in (1 / (255 * std), mean / std))
            self._constants[pixels.device] = made
        scale, shift = self._constants[pixels.device]
        return pixels.to(torch.float32).mul_(scale).sub_(shift)

    def _draw_randomness(self, count: int, generator: Generator) -> tuple[Tensor, ...]:
        """Random positions and flips, one row for each of `count` images, independent of the
        images' sizes."""
        if self.recipe in CROP_SCALE:
            place = torch.rand(count, CROP_ATTEMPTS, 4, generator=generator, dtype=torch.float64)
        elif self.recipe == "crop":
            place = torch.rand(count, 2, generator=generator, dtype=torch.float64)
        else:
            border = 0 if self.recipe == "plain" else self.size // 8
            corner = torch.randint(0, 2 * border + 1, (2, count), generator=generator)
            place = corner.T - border
            if self.recipe == "strong":
                middle = torch.randint(0, self.size, (count, 2), generator=generator)
                place = torch.cat([place, middle - self.size // 8], 1)
        return place, torch.rand(count, generator=generator) < 0.5

    def _query(self, images: Tensor | Iterator[Tensor]) -> Tensor:
        cut = self._centre_crop if self.recipe in CENTRED else self._resize_exactly
        if isinstance(images, Tensor):
            return cut(images)
        return _stack([cut(image) for image in images], self.size)

    def _random_crop(self, image: Tensor, draws: list[Any], flipped: bool) -> Tensor:
        if self.recipe == "crop":
            image = resizing.resize(image, [round(self.size * 256 / 224)])
            top, left = (
                int((side - self.size + 1) * draw)
                for side, draw in zip(image.shape[-2:], draws, strict=True)
            )
            crop = image[:, top : top + self.size, left : left + self.size]
            return crop.flip(2) if flipped else crop
        height, width = image.shape[-2:]
        top, left, rows, columns = _crop_box(height, width, CROP_SCALE[self.recipe], draws)
        crop = image[:, top : top + rows, left : left + columns]
        crop = resizing.resize(crop, [self.size, self.size])
        return crop.flip(2) if flipped else crop

    def _centre_crop(self, images: Tensor) -> Tensor:
        shorter = round(self.size * 256 / 224)
        return resizing.center_crop(resizing.resize(images, [shorter]), [self.size, self.size])

    def _resize_exactly(self, images: Tensor) -> Tensor:
        if tuple(images.shape[-2:]) == (self.size, self.size):
            return images
        return resizing.resize(images, [self.size, self.size])


def build(
    recipe: str,
    size: int,
    train: bool,
    mean: Sequence[float] = IMAGENET_MEAN,
    std: Sequence[float] = IMAGENET_STD,
) -> Transform:
    """The training or the query transform of a recipe; see `Transform`."""
    return Transform(recipe, size, train, mean, std)


def from_config(config: dict[str, Any], train: bool = False) -> Transform:
    """Inverse of `Transform.config`."""
    return Transform(config["recipe"], config["size"], train, config["mean"], config["std"])


def query_transform(preprocess: dict[str, Any] | None) -> Transform:
    """The query transform of a model's `preprocess`. Raises ValueError if that is None."""
    if preprocess is None:
        raise ValueError("the model does not say how its images were prepared; train it again")
    return from_config(preprocess)


def _checked_images(images: Tensor | Iterable[Tensor]) -> Tensor | Iterator[Tensor]:
    if isinstance(images, Tensor):
        return _check_uint8(images, 4)
    return (_check_uint8(image, 3) for image in images)


def _check_uint8(image: Tensor, dimensions: int) -> Tensor:
    if image.dtype != torch.uint8 or image.ndim != dimensions or image.shape[-3] != 3:
        raise ValueError(
            "images must be uint8 (B, 3, H, W) or a list of uint8 (3, H, W), "
            f"got {image.dtype} {tuple(image.shape)}"
        )
    return image


def _stack(images: list[Tensor], size: int) -> Tensor:
    return torch.stack(images) if images else torch.zeros(0, 3, size, size, dtype=torch.uint8)


def _crop_box(
    height: int, width: int, least: float, draws: list[list[float]]
) -> tuple[int, int, int, int]:
    """(top, left, rows, columns) of a random crop, as in torchvision's RandomResizedCrop.

    The area is uniform in (least, 1) and the aspect ratio log-uniform in (3/4, 4/3). The first
    attempt that fits is taken; if none fits, the largest centred box of an allowed aspect ratio.

    draws: for each attempt 4 numbers in [0, 1): area, aspect ratio, top, left.
    """
    low, high = (math.log(ratio) for ratio in CROP_RATIO)
    for area_draw, ratio_draw, top_draw, left_draw in draws:
        area = height * width * (least + (1 - least) * area_draw)
        ratio = math.exp(low + (high - low) * ratio_draw)
        columns, rows = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 0 < columns <= width and 0 < rows <= height:
            top = int((height - rows + 1) * top_draw)
            left = int((width - columns + 1) * left_draw)
            return top, left, rows, columns
    rows = min(height, max(1, round(width / CROP_RATIO[0])))
    columns = min(width, max(1, round(height * CROP_RATIO[1])))
    return (height - rows) // 2, (width - columns) // 2, rows, columns


def _shift_and_flip(images: Tensor, down: Tensor, right: Tensor, flipped: Tensor) -> Tensor:
    """Each image (3, S, S) shifted by its own offset with reflection padding, then flipped."""
    size = images.shape[-1]
    line = torch.arange(size)
    columns = torch.where(flipped[:, None], line.flip(0), line) + right[:, None]
    rows = _reflect(line + down[:, None], size)[:, None, :, None]
    columns = _reflect(columns, size)[:, None, None, :]
    image = torch.arange(len(images))[:, None, None, None]
    return images[image, torch.arange(3)[:, None, None], rows, columns]


def _erase(images: Tensor, top: Tensor, left: Tensor, side: int, colour: Tensor) -> None:
    """Fill a square of each image (3, S, S), the part of it that is inside, in place."""
    line = torch.arange(images.shape[-1])
    rows, columns = ((line >= at[:, None]) & (line < at[:, None] + side) for at in (top, left))
    inside = (rows[:, :, None] & columns[:, None, :])[:, None]
    images.copy_(torch.where(inside, colour[:, None, None], images))


def _reflect(positions: Tensor, size: int) -> Tensor:
    positions = positions.abs()
    return torch.where(positions >= size, 2 * (size - 1) - positions, positions)
