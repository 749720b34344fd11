"""Labelled images from files, from memory or from a generator."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Protocol, TypeVar

import torch
from torch import Tensor

from ..arrays import as_integers, as_positions
from . import resizing
from .decode import decode

# Cached images of one size up to this many bytes each are stacked into one tensor, which makes
# batches cheap. For larger images the temporary copy of stacking costs too much memory.
STACKED_BYTES = 3 * 128 * 128

Progress = Callable[[int, int], None]
T = TypeVar("T")


class Source(Protocol):
    """Where images come from; `row` is a position in the source.

    image: uint8 (3, H, W). identifier: a stable text such as a path. masks: bool (P, H, W) masks of
    the parts, ValueError if there are none.
    """

    def __len__(self) -> int: ...

    def image(self, row: int) -> Tensor: ...

    def identifier(self, row: int) -> str: ...

    def masks(self, row: int) -> Tensor: ...


class NoMasks:
    """Mixin for sources without part masks."""

    def masks(self, row: int) -> Tensor:
        raise ValueError("this dataset has no part masks; only birdlets has them")


class Files(NoMasks):
    """Image files below one folder, decoded at each access."""

    def __init__(self, root: Path, paths: Sequence[str]) -> None:
        self.root = Path(root)
        self.paths = list(paths)

    def __len__(self) -> int:
        return len(self.paths)

    def image(self, row: int) -> Tensor:
        return decode(self.root / self.paths[row])

    def identifier(self, row: int) -> str:
        return self.paths[row]


class Memory:
    """Decoded images in memory: one uint8 (N, 3, H, W) tensor, or a list of (3, H, W) tensors.

    origin: the image set that they were decoded from, for its part masks.
    """

    def __init__(
        self, pixels: Tensor | list[Tensor], identifiers: Sequence[str], origin: ImageSet | None
    ) -> None:
        self.pixels = pixels
        self.identifiers = list(identifiers)
        self.origin = origin

    def __getstate__(self) -> dict[str, Any]:
        # Between processes PyTorch passes each tensor as an open file, of which there are too few
        # for a list of images.
        if isinstance(self.pixels, Tensor):
            return vars(self)
        return {**vars(self), "pixels": [image.numpy() for image in self.pixels]}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        if not isinstance(self.pixels, Tensor):
            self.pixels = [torch.as_tensor(image) for image in self.pixels]

    def __len__(self) -> int:
        return len(self.pixels)

    def image(self, row: int) -> Tensor:
        return self.pixels[row]

    def identifier(self, row: int) -> str:
        return self.identifiers[row]

    def masks(self, row: int) -> Tensor:
        if self.origin is None:
            raise ValueError("this dataset has no part masks; only birdlets has them")
        masks = self.origin.masks(row)
        size = list(self.pixels[row].shape[-2:])
        if list(masks.shape[-2:]) == size:
            return masks
        return resizing.resize_mask(masks.to(torch.uint8), size).bool()


class ImageSet:
    """Labelled images in a fixed order.

    Args:
        name: the dataset's name.
        source: where the images come from.
        labels: int64 (N,), or bool (N, C) for multi-label images.
        classes: C class names.
        rows: positions of the images in `source`, integers (N,), or a mask over it; None: all.

    Raises:
        ValueError: labels of another shape, dtype or range.
    """

    def __init__(
        self,
        name: str,
        source: Source,
        labels: Tensor,
        classes: Sequence[str],
        rows: Tensor | None = None,
    ) -> None:
        self.name = name
        self.source = source
        if rows is None:
            self.rows = torch.arange(len(source))
        elif rows.dtype is torch.bool:
            self.rows = as_positions(rows, "rows", len(source))
        else:
            self.rows = as_integers(rows, "rows").to(torch.int64)
        self.labels = labels
        self.classes = tuple(classes)
        _check_labels(name, labels, len(self.rows), len(self.classes))

    def __len__(self) -> int:
        return len(self.rows)

    def __repr__(self) -> str:
        return f"ImageSet({self.name!r}, {len(self)} images, {len(self.classes)} classes)"

    @property
    def multi_label(self) -> bool:
        """Whether images can have several labels."""
        return self.labels.ndim == 2

    def image(self, i: int) -> Tensor:
        """Image i as uint8 (3, H, W) RGB. Raises BrokenImageError, IndexError."""
        return self.source.image(self._row(i))

    def images(self, indices: Tensor) -> Tensor | Iterator[Tensor]:
        """Images by position: one uint8 (B, 3, H, W) tensor if they are stacked in memory, else an
        iterator that decodes one image at a time."""
        if isinstance(self.source, Memory) and isinstance(self.source.pixels, Tensor):
            return self.source.pixels[self.rows[indices]]
        return (self.image(i) for i in indices.tolist())

    def identifier(self, i: int) -> str:
        """A stable identifier of image i, for files the path below the root."""
        return self.source.identifier(self._row(i))

    def masks(self, i: int) -> Tensor:
        """Visible pixels of each part of image i, bool (P, H, W); ValueError without masks."""
        return self.source.masks(self._row(i))

    def subset(self, indices: Any) -> ImageSet:
        """The images at these positions, in that order; shares the source.

        indices: integers (n,) in 0..len - 1, which may repeat, or a mask, bool (len,); a tensor, a
        NumPy array or a sequence. Raises TypeError for other dtypes, ValueError for positions out
        of range, a mask of another length, and a mask of integers 0 and 1.
        """
        chosen = as_positions(indices, "indices", len(self)).cpu()
        return ImageSet(
            self.name, self.source, self.labels[chosen], self.classes, self.rows[chosen]
        )

    def cached(
        self, size: int | None = None, *, threads: int = 2, progress: Progress | None = None
    ) -> ImageSet:
        """The same images decoded into memory (3 * H * W bytes each).

        Args:
            size: reduce images whose shorter side is longer than this to it, keeping the aspect
                ratio, with the query transform's interpolation; None keeps the full resolution.
            threads: decoding threads.
            progress: called as progress(done, total).

        Raises:
            BrokenImageError: at the first file that cannot be decoded.
        """
        if size is not None and size < 1:
            raise ValueError(f"size must be a positive number of pixels or None, got {size}")
        if size is None and isinstance(self.source, Memory):
            return self

        def load(i: int) -> Tensor:
            image = self.image(i)
            if size is not None and min(image.shape[-2:]) > size:
                image = resizing.resize(image, [size])
            return image

        images = map_in_threads(load, len(self), threads, progress)
        pixels: Tensor | list[Tensor] = images
        if (
            images
            and all(image.shape == images[0].shape for image in images)
            and (images[0].numel() <= STACKED_BYTES)
        ):
            pixels = torch.stack(images)
        names = [self.identifier(i) for i in range(len(self))]
        return ImageSet(self.name, Memory(pixels, names, self), self.labels, self.classes)

    def _row(self, i: int) -> int:
        if not -len(self) <= i < len(self):
            raise IndexError(f"image {i} is out of range for a set of {len(self)} images")
        return int(self.rows[i])


def map_in_threads(
    work: Callable[[int], T], count: int, threads: int, progress: Progress | None = None
) -> list[T]:
    """[work(0), ..., work(count - 1)], computed by a thread pool.

    progress(done, count) is called from the calling thread.
    """
    if threads < 1:
        raise ValueError(f"threads must be at least 1, got {threads}")
    results = []
    with ThreadPoolExecutor(threads) as pool:
        try:
            for result in pool.map(work, range(count)):
                results.append(result)
                if progress is not None:
                    progress(len(results), count)
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    return results


def _check_labels(name: str, labels: Tensor, images: int, classes: int) -> None:
    if len(labels) != images:
        raise ValueError(f"labels of {name} must have {images} rows, got {len(labels)}")
    if labels.ndim == 1 and labels.dtype == torch.int64:
        if images and not (int(labels.min()) >= 0 and int(labels.max()) < classes):
            raise ValueError(
                f"labels of {name} must lie in 0..{classes - 1}, "
                f"got {int(labels.min())}..{int(labels.max())}"
            )
    elif not (labels.ndim == 2 and labels.dtype == torch.bool and labels.shape[1] == classes):
        raise ValueError(
            f"labels of {name} must be int64 (N,) or bool (N, {classes}), "
            f"got {labels.dtype} {tuple(labels.shape)}"
        )
