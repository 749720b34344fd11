"""Searches in a gallery by image number or, with a network, by image content."""

import re
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ..data.decode import decode_bytes
from ..models import HashModel
from ..search import HammingIndex
from ..search.gallery import Gallery
from ..viz.activations import transform_of

MAX_WEIGHT = 9


class SearchHit(NamedTuple):
    """One search result.

    number: the image's number in the gallery. distance: Hamming distance in bits.
    by_part: Hamming distance within each part. score: weighted distance.
    """

    number: int
    distance: int
    by_part: list[int]
    score: int


class Maps(NamedTuple):
    """Attention maps of one image.

    values: float32 (m, H, W). peaks: the maximum of each map.
    box: (left, top, width, height) of the region that the maps cover, as fractions of the upright
    image.
    """

    values: np.ndarray
    peaks: list[float]
    box: tuple[float, float, float, float]


class Searcher:
    """Searches a gallery by image content or by image number.

    Args:
        gallery: codes, image paths and labels.
        index: Hamming index over the gallery's codes.
        network: the model that computed the codes, on any device; None allows only searches by
            number.

    Raises:
        ValueError: the network has no `preprocess`, or its code length is not the gallery's.
    """

    def __init__(
        self, gallery: Gallery, index: HammingIndex, network: HashModel | None = None
    ) -> None:
        self.gallery, self.index, self.network = gallery, index, network
        groups = gallery.bit_groups
        self.parts = {name: stop - start for name, (start, stop) in groups.items()}
        self.has_maps = False
        if network is None:
            return
        if network.code_length != gallery.bits:
            raise ValueError(
                f"the model makes codes of {network.code_length} bits, the gallery has "
                f"{gallery.bits}"
            )
        self._transform = transform_of(network)
        self._device = next(network.parameters()).device
        network.eval()
        # Warm up: the first forward pass compiles kernels, which should not delay a request.
        self.has_maps = self.maps(torch.zeros(3, 32, 32, dtype=torch.uint8)) is not None

    @property
    def weights_pattern(self) -> str:
        """The `numbers` that `weights` takes, as a regular expression of ECMA-262 and of Python."""
        return f"^(?!0(,0)*$)[0-{MAX_WEIGHT}](,[0-{MAX_WEIGHT}]){{{len(self.parts) - 1}}}$"

    def weights(self, part: str | None, numbers: str | None) -> dict[str, int] | None:
        """The weight of each part in the distance; None for the unweighted distance.

        Args:
            part: the only part to compare, or None.
            numbers: one digit per part, such as "1,0,0,2", or None; not read if `part` is given.

        Raises:
            ValueError: an unknown part, or malformed or all-zero weights.
        """
        if part is not None:
            if part not in self.parts:
                raise ValueError(f"part must be one of {', '.join(self.parts)}, got {part[:40]!r}")
            return {part: 1}
        if numbers is None:
            return None
        if not re.fullmatch(self.weights_pattern, numbers):
            raise ValueError(
                f"weights must be a number from 0 to {MAX_WEIGHT} for each of "
                f"{', '.join(self.parts)}, with commas between them and not all of them 0, "
                f"got {numbers[:60]!r}"
            )
        weights = dict(zip(self.parts, map(int, numbers.split(",")), strict=True))
        return None if set(weights.values()) == {1} else weights

    def by_image(self, data: bytes, max_pixels: int) -> np.ndarray:
        """The packed code of an image file's bytes, uint8 (1, code bytes).

        Raises BrokenImageError.
        """
        assert self.network is not None
        batch = self._transform([decode_bytes(data, max_pixels=max_pixels)]).to(self._device)
        return self.network.encode(batch).cpu().numpy()

    def search(
        self, code: np.ndarray, k: int, weights: dict[str, int] | None, exclude: int | None = None
    ) -> list[SearchHit]:
        """The k nearest images, ascending by (score, number), leaving out image `exclude`."""
        count = min(k + (exclude is not None), len(self.gallery))
        if not count:
            return []
        scores, ids, by_part = self.index.search(code, count, weights=weights, by_part=True)
        found = [
            SearchHit(int(i), int(split.sum()), split.tolist(), int(score))
            for score, i, split in zip(scores[0], ids[0], by_part[0], strict=True)
            if int(i) != exclude
        ]
        return found[:k]

    def by_number(self, number: int, k: int, weights: dict[str, int] | None) -> list[SearchHit]:
        """The k nearest neighbours of a gallery image, not counting the image itself."""
        return self.search(self.index.reconstruct(np.array([number])), k, weights, number)

    def maps(self, image: Tensor) -> Maps | None:
        """The attention maps of an image, uint8 (3, H, W); None if the network has none."""
        assert self.network is not None
        with torch.inference_mode():
            found = self.network(self._transform([image]).to(self._device)).maps
        if found is None:
            return None
        values = found[0].float().cpu().nan_to_num()
        peaks = [float(p) for p in values.amax((1, 2))]
        return Maps(values.numpy(), peaks, self._transform.seen(*image.shape[1:]))
