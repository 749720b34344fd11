"""What the server knows: a gallery, its index, and the network, if there is one."""

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


class Found(NamedTuple):
    """One hit: its number, the distance in bits, that of each part, and the weighted one."""

    number: int
    distance: int
    by_part: list[int]
    score: int


class Maps(NamedTuple):
    """Attention maps of one image: values (m, H, W) from 0 to each map's own largest, `peaks`.

    box: (left, top, width, height) of what they cover, as shares of the upright image.
    """

    values: np.ndarray
    peaks: list[float]
    box: tuple[float, float, float, float]


class Searcher:
    """Searches a gallery by images and by numbers.

    network: the one that made the gallery's codes, on any device; None where only numbers are
    asked for. Raises ValueError where it has no `preprocess` or other bits.
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
        # The first pass compiles kernels; better now than while somebody waits.
        self.has_maps = self.maps(torch.zeros(3, 32, 32, dtype=torch.uint8)) is not None

    def weights(self, part: str | None, numbers: str | None) -> dict[str, int] | None:
        """What to weigh each part by; None for the plain distance.

        part: one alone. numbers: a digit for each part, "1,0,0,2". Raises ValueError.
        """
        if part is not None and numbers is not None:
            raise ValueError("part and weights exclude each other: one part alone is a weight of 1")
        if part is not None:
            if part not in self.parts:
                raise ValueError(f"part must be one of {', '.join(self.parts)}, got {part[:40]!r}")
            return {part: 1}
        if numbers is None:
            return None
        given = numbers.split(",")
        if len(given) != len(self.parts):
            raise ValueError(
                f"weights must be {len(self.parts)} numbers, for {', '.join(self.parts)}, "
                f"got {len(given)}"
            )
        if not all(n.isascii() and n.isdigit() and len(n) == 1 for n in given):
            raise ValueError(f"weights must be whole numbers from 0 to {MAX_WEIGHT}")
        weights = dict(zip(self.parts, map(int, given), strict=True))
        if not any(weights.values()):
            raise ValueError("weights must have one that is larger than 0, got none")
        return None if set(weights.values()) == {1} else weights

    def by_image(self, data: bytes, max_pixels: int) -> np.ndarray:
        """The code of an image file's content, uint8 (1, bytes). Raises BrokenImageError."""
        assert self.network is not None
        batch = self._transform([decode_bytes(data, max_pixels=max_pixels)]).to(self._device)
        return self.network.encode(batch).cpu().numpy()

    def search(
        self, code: np.ndarray, k: int, weights: dict[str, int] | None, besides: int | None = None
    ) -> list[Found]:
        """The k nearest by (distance, number), without image `besides`."""
        count = min(k + (besides is not None), len(self.gallery))
        if not count:
            return []
        scores, ids, by_part = self.index.search(code, count, weights=weights, by_part=True)
        found = [
            Found(int(i), int(split.sum()), split.tolist(), int(score))
            for score, i, split in zip(scores[0], ids[0], by_part[0], strict=True)
            if int(i) != besides
        ]
        return found[:k]

    def by_number(self, number: int, k: int, weights: dict[str, int] | None) -> list[Found]:
        """The k nearest to one of the gallery's own images, without itself."""
        return self.search(self.index.reconstruct(np.array([number])), k, weights, number)

    def maps(self, image: Tensor) -> Maps | None:
        """The attention maps over an image, uint8 (3, H, W); None where a network has none."""
        assert self.network is not None
        with torch.inference_mode():
            found = self.network(self._transform([image]).to(self._device)).maps
        if found is None:
            return None
        values = found[0].float().cpu().nan_to_num()
        peaks = [float(p) for p in values.amax((1, 2))]
        return Maps(values.numpy(), peaks, self._transform.seen(*image.shape[1:]))
