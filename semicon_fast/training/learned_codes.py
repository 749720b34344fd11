"""Codes that a method learned of the training images: their file, and those of the database."""

import json
from pathlib import Path
from typing import NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as serialise
from torch import Tensor

from ..codes import pack_codes
from ..data import HashingData
from ..files import atomic_write, utf8_path
from ..models.storage import KEY


class LearnedCodes(NamedTuple):
    """Codes that a method learned of the training images.

    codes: packed, uint8 (N, bytes) on the CPU. of_classes: whether each is the center of its
    image's class, so that they are label codes.
    """

    codes: Tensor
    of_classes: bool


def pack_learned(codes: Tensor | None) -> Tensor | None:
    """Pack codes of -1 and +1, float (N, k) on any device: uint8 (N, bytes) on the CPU."""
    return None if codes is None else pack_codes(codes).cpu()


def database_codes(learned: Tensor, data: HashingData) -> Tensor | None:
    """Reorder learned codes (len(train), ...) to the order of the database.

    None if some database image is not a training image, so that it has no learned code.
    """
    inside = data.train_rows >= 0
    position = torch.full((len(data.database),), -1)
    position[data.train_rows[inside]] = inside.nonzero()[:, 0]
    return None if bool((position < 0).any()) else learned[position]


def label_codes(centers: Tensor, data: HashingData) -> Tensor | None:
    """The center of each database image's class, from those of the training images' classes.

    centers: (len(train), ...). Images with several labels share no class, so that only the codes of
    training images are known. None if a database image has none, as one whose class has no
    training image.
    """
    if data.train.multi_label:
        return database_codes(centers, data)
    labels, known = data.database.labels, data.train.labels
    image = torch.full((int(torch.cat([labels, known]).max()) + 1,), -1)
    image[known] = torch.arange(len(known))
    rows = image[labels]
    return None if bool((rows < 0).any()) else centers[rows]


def known_codes(
    learned: LearnedCodes | None, data: HashingData
) -> tuple[Tensor | None, Tensor | None]:
    """(learned codes, label codes) of the database images, of which at least one is None."""
    if learned is None:
        return None, None
    if learned.of_classes:
        return None, label_codes(learned.codes, data)
    return database_codes(learned.codes, data), None


def save_codes(path: Path, learned: LearnedCodes, labels: Tensor, bits: int) -> None:
    """Save learned codes of the training images and their labels as a .safetensors file.

    Its metadata entry "semicon_fast" is JSON: {"bits", "codes": "learned" or "centers"}.
    """
    about = {"bits": bits, "codes": "centers" if learned.of_classes else "learned"}
    tensors = {"codes": learned.codes.contiguous(), "labels": labels.contiguous()}
    # One entry: several would be written in a random order.
    content = serialise(tensors, {KEY: json.dumps(about)})
    with atomic_write(path) as file:
        file.write(content)


def read_codes(path: Path) -> tuple[LearnedCodes, Tensor] | None:
    """The codes that `save_codes` wrote, and the images' labels; None without such a file.

    Raises ValueError if the file is damaged.
    """
    if not path.is_file():
        return None
    try:
        with utf8_path(path) as name, safe_open(name, framework="pt") as file:
            about = json.loads((file.metadata() or {}).get(KEY, "{}"))
            codes, labels = file.get_tensor("codes"), file.get_tensor("labels")
    except SafetensorError as error:
        raise ValueError(f"{path} is damaged: {error}") from error
    return LearnedCodes(codes, about.get("codes") == "centers"), labels


def load_codes(path: Path, labels: Tensor) -> LearnedCodes | None:
    """`read_codes` without the labels. Raises ValueError if they are not `labels`."""
    found = read_codes(path)
    if found is not None and not torch.equal(found[1], labels):
        raise ValueError(f"{path} was learned for training images with other labels")
    return None if found is None else found[0]
