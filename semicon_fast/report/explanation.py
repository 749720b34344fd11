"""Explains the distance of two images by the parts of their codes and the attention maps."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from ..codes import pack_codes
from ..models import HashModel
from ..search import part_distances
from ..viz import Activations, Picture, explanation_figure, record_activations


@dataclass(frozen=True)
class Explanation:
    """The Hamming distance of a query and a hit by part.

    names: of query and hit. distance: Hamming distance. bits: code length. parts: part name ->
    (differing bits, bits). codes: packed codes in hexadecimal. look: activations of both images.
    """

    names: tuple[str, str]
    distance: int
    bits: int
    parts: dict[str, tuple[int, int]]
    codes: tuple[str, str]
    look: Activations

    def to_dict(self) -> dict[str, Any]:
        """JSON-serialisable content without images and activations."""
        return {
            "query": self.names[0],
            "hit": self.names[1],
            "distance": self.distance,
            "bits": self.bits,
            "parts": {n: {"distance": d, "bits": b} for n, (d, b) in self.parts.items()},
            "codes": {"query": self.codes[0], "hit": self.codes[1]},
        }

    def picture(self) -> Picture:
        """A figure of both images, their attention maps, and the distance by part."""
        seen, maps = self.look.seen, self.look.maps
        pair = (None, None) if maps is None else (maps[0], maps[1])
        return explanation_figure((seen[0], seen[1]), pair, self.parts, self.names)


def explain(model: HashModel, images: Sequence[Tensor], names: Sequence[str]) -> Explanation:
    """Encode a query and a hit and compare their codes part by part.

    Both are encoded in one batch. With SEMICON's official variant, whose codes depend on the batch,
    distances can differ from those in a gallery.

    Args:
        model: the hashing network.
        images: query and hit, uint8 (3, H, W) of any sizes.
        names: their names.
    """
    found = record_activations(model, images)
    codes = pack_codes(found.outputs)
    groups = model.bit_groups
    counts = part_distances(codes[:1], codes[1:], model.code_length, groups)[0].tolist()
    parts = {
        name: (count, group.stop - group.start)
        for (name, group), count in zip(groups.items(), counts, strict=True)
    }
    hex_codes = [bytes(code.tolist()).hex() for code in codes]
    return Explanation(
        (names[0], names[1]),
        sum(counts),
        model.code_length,
        parts,
        (hex_codes[0], hex_codes[1]),
        found,
    )
