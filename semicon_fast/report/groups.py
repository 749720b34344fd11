"""Groups of near-duplicates in a gallery, for a page."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from torch import Tensor

from ..data.catalog import locate
from ..data.decode import BrokenImageError


@dataclass(frozen=True)
class Member:
    """An image of a group, uint8 (3, H, W), or None where it cannot be read.

    distance: Hamming distance to the group's first member.
    """

    name: str
    label: str
    distance: int
    image: Tensor | None


@dataclass(frozen=True)
class Group:
    """Some members of a group of `size` images."""

    size: int
    members: list[Member]


def duplicate_groups(
    groups: Sequence[Sequence[int]],
    distances: Sequence[Sequence[int]],
    images: Sequence[str],
    labels: Sequence[str],
    *,
    members: int,
    pictures: bool,
) -> list[Group]:
    """The groups with their first members.

    Args:
        groups: positions of the images of each group.
        distances: of each image to the first of its group.
        images, labels: names and labels of all images, by position.
        members: the most members of a group.
        pictures: whether the names are those of images, which are then read.

    Raises ValueError if an archive with images is damaged.
    """
    shown = [list(group)[:members] for group in groups]
    names = [images[i] for group in shown for i in group]
    read: dict[str, Callable[[], Tensor]] = {}
    if pictures:
        read = {entry.name: entry.image for entry in locate(list(dict.fromkeys(names)))}
    return [
        Group(
            len(group),
            [
                Member(images[i], labels[i], int(distance), _image(read.get(images[i])))
                for i, distance in zip(kept, near, strict=False)
            ],
        )
        for group, kept, near in zip(groups, shown, distances, strict=True)
    ]


def _image(read: Callable[[], Tensor] | None) -> Tensor | None:
    try:
        return None if read is None else read()
    except (BrokenImageError, OSError):
        return None
