"""Counts, by reason, of what a reader of images passed over, and how they are said."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

HIDDEN = "hidden files and folders"
OTHER = "other files"
SHARDS = "tar and Parquet files beside images"
LINKED_IMAGES = "links to images listed elsewhere"
LINKED_FOLDERS = "links to folders read elsewhere"
LOOPS = "links to folders above them"
DANGLING = "links to nothing"
OUTSIDE = "links out of an archive"
ARCHIVED_FOLDERS = "links to folders in an archive"
REPLACED = "archive members replaced by later ones"
LOOSE = "images outside class folders"
EMPTY = "folders without images"
BESIDE = "folders outside the split"
BROKEN = "images that cannot be decoded"
UNLABELLED = "images without a label"
NUMBERLESS = "lines of lists without a label, labelled by folder"
ENDLESS = "tar files without an end mark"
# Each count's name, and the name of a count of one, in the order in which they are said.
_ONE = {
    HIDDEN: "hidden file or folder",
    OTHER: "other file",
    SHARDS: "tar or Parquet file beside images",
    LINKED_IMAGES: "link to an image listed elsewhere",
    LINKED_FOLDERS: "link to a folder read elsewhere",
    LOOPS: "link to a folder above it",
    DANGLING: "link to nothing",
    OUTSIDE: "link out of an archive",
    ARCHIVED_FOLDERS: "link to a folder in an archive",
    REPLACED: "archive member replaced by a later one",
    LOOSE: "image outside class folders",
    EMPTY: "folder without images",
    BESIDE: "folder outside the split",
    BROKEN: "image that cannot be decoded",
    UNLABELLED: "image without a label",
    NUMBERLESS: "line of a list without a label, labelled by folder",
    ENDLESS: "tar file without an end mark",
}


class PassedOver:
    """Counts of a listing.

    Attributes:
        counts: reason -> how many files, folders, links or archive members were left out.
        notes: what was taken otherwise than one may expect -> how often.
    """

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.notes: Counter[str] = Counter()

    def add(self, reason: str, number: int = 1) -> None:
        """Count `number` more left out for this reason."""
        self.counts[reason] += number

    def note(self, what: str, number: int = 1) -> None:
        """Count `number` more that were taken otherwise than one may expect."""
        self.notes[what] += number

    @property
    def total(self) -> int:
        """How many were left out in all."""
        return sum(self.counts.values())

    def to_dict(self) -> dict[str, int]:
        """The counts in a fixed order, JSON-serialisable."""
        return in_order(self.counts)


def in_order(counts: Mapping[str, int]) -> dict[str, int]:
    """The counts above 0 in the order in which they are said."""
    return {reason: counts[reason] for reason in _ONE if counts.get(reason)}


def in_words(counts: Mapping[str, int]) -> str:
    """The counts as text: "4 hidden files and folders, 1 link to nothing"; "" if there are none."""
    return ", ".join(
        f"{count:,} {_ONE[reason] if count == 1 else reason}"
        for reason, count in in_order(counts).items()
    )


def passed_over_in_words(counts: Mapping[str, int]) -> str:
    """ "passed over 5: 4 hidden files and folders, 1 link to nothing"; "" if nothing was."""
    said = in_words(counts)
    return f"passed over {sum(counts.values()):,}: {said}" if said else ""
