"""What a study is: rows that are trained or computed, beside the numbers that a paper printed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Budget = Literal["paper", "small"]
BUDGETS: tuple[Budget, Budget] = ("paper", "small")

# The keys of `training.sides.SIDES`.
Side = Literal["learned", "encoded", "centers"]

MAP = "mAP"
RADIUS_2 = "precision_within_radius_2"


@dataclass(frozen=True)
class Train:
    """A network trained by a preset.

    Works with the same name are the same: their networks are trained once for all rows and studies
    of an output folder.

    Attributes:
        preset: name of the preset.
        label: distinguishes this work from the preset's own, where `settings` or others differ.
        settings: changes to the preset, "section.key=value".
        start: the work whose model this one starts from.
        member, members: the seed is that of the preset + member + members * (number of the
            repetition), so that the members of an ensemble differ from each other in each
            repetition.
        similarity: a torchvision network; the similarities of the classes are those of their mean
            features by it (SHC).
        folder: name of the data set's folder below the root, where the data set's own name does
            not say it.
        topk: mAP is computed over this many first hits; None: over the whole database.
    """

    preset: str
    label: str = ""
    settings: tuple[str, ...] = ()
    start: Train | None = None
    member: int = 0
    members: int = 1
    similarity: str | None = None
    folder: str | None = None
    topk: int | None = None

    @property
    def name(self) -> str:
        return f"{self.preset}-{self.label}" if self.label else self.preset

    @property
    def needs(self) -> tuple[Work, ...]:
        return () if self.start is None else (self.start,)


@dataclass(frozen=True)
class Ensemble:
    """The codes of several networks side by side, of the same data set."""

    name: str
    members: tuple[Train, ...]

    @property
    def needs(self) -> tuple[Work, ...]:
        return self.members


@dataclass(frozen=True)
class Features:
    """Feature vectors of the images of a data set.

    Attributes:
        name: name of their folder.
        kind: "network": what the hash layer of `of` is computed from, of unit length. "resnet50":
            the same of a ResNet-50 with ImageNet's weights. "hog": HOG-512, which stands in for
            GIST.
        of: a work whose data set is taken, and for "network" its network.
    """

    name: str
    kind: Literal["network", "resnet50", "hog"]
    of: Train

    @property
    def needs(self) -> tuple[Work, ...]:
        return (self.of,) if self.kind == "network" else ()


@dataclass(frozen=True)
class Shallow:
    """A method for feature vectors, by its name in `shallow`, with its options."""

    method: str
    bits: int
    features: Features
    options: Mapping[str, object] = field(default_factory=dict, hash=False)

    @property
    def name(self) -> str:
        return f"{self.method}-{self.features.name}-{self.bits}"

    @property
    def needs(self) -> tuple[Work, ...]:
        return (self.features,)


@dataclass(frozen=True)
class Missing:
    """A row that cannot be run, with the reason; the paper's number is shown alone."""

    reason: str

    @property
    def name(self) -> str:
        return ""

    @property
    def needs(self) -> tuple[Work, ...]:
        return ()


Work = Train | Ensemble | Features | Shallow | Missing


@dataclass(frozen=True)
class Row:
    """A row of a study.

    Attributes:
        name: its name, unique in the study: parts joined by "-".
        labels: its values in the columns of the study.
        work: what is run with the published settings.
        small: what is run in the small setting; None: the row is not part of it.
        published: metric -> the paper's number, as a fraction of 1.
        side: the side of the database that the paper's numbers are about.
    """

    name: str
    labels: tuple[str, ...]
    work: Work
    small: Work | None = None
    published: Mapping[str, float] = field(default_factory=dict, hash=False)
    side: Side = "encoded"

    def of(self, budget: Budget) -> Work | None:
        """What is run within a budget; None: nothing."""
        return self.work if budget == "paper" else self.small


@dataclass(frozen=True)
class Figure:
    """How a study is drawn.

    Attributes:
        kind: "lines": a metric over the column `x`, one line for each value of `line`. "dots": a
            metric of each row. "curves": precision over recall. "loss": the training loss over the
            passes. "parts": mAP by parts of the code. "outputs", "maps", "channels", "cases":
            pictures of the network of each row.
        metric: metric of "lines" and "dots".
        x, line: names of columns.
        panel: a column, each of whose values has a picture of its own; "": one picture.
    """

    kind: Literal[
        "lines", "dots", "curves", "loss", "parts", "outputs", "maps", "channels", "cases"
    ]
    metric: str = MAP
    x: str = ""
    line: str = ""
    panel: str = ""


@dataclass(frozen=True)
class Study:
    """A table or figure of a paper.

    Attributes:
        name: its name, such as "semicon-table1".
        title: what it shows.
        source: paper and place.
        protocol: what the paper's values are about.
        columns: names of the columns that tell the rows apart.
        rows: the rows in the paper's order.
        metrics: the metrics that the paper gives, in its order.
        figures: how it is drawn.
        small: what the small setting is, in one sentence.
        comparable: whether values of the small setting may be compared with the published ones,
            for data and protocol are the same.
        notes: further sentences about it.
    """

    name: str
    title: str
    source: str
    protocol: str
    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    metrics: tuple[str, ...] = (MAP,)
    figures: tuple[Figure, ...] = ()
    small: str = ""
    comparable: bool = False
    notes: tuple[str, ...] = ()

    def chosen(self, budget: Budget, only: tuple[str, ...] = ()) -> tuple[Row, ...]:
        """The rows of a budget, or those of them that `only` names.

        only: names of rows, the leading parts of names ("cub-12" for "cub-12-semicon"), or shell
            patterns ("*-48-*"). Raises ValueError for one that names no row of the budget.
        """
        from fnmatch import fnmatchcase

        rows = [row for row in self.rows if row.of(budget) is not None]
        found: set[str] = set()
        for word in only:
            names = {
                row.name
                for row in rows
                if f"{row.name}-".startswith(f"{word}-") or fnmatchcase(row.name, word)
            }
            if not names:
                known = ", ".join(_few([row.name for row in rows]))
                raise ValueError(
                    f"--only {word!r} names no row of {self.name} in the {budget} setting, which "
                    f"has {known}"
                )
            found |= names
        return tuple(row for row in rows if not only or row.name in found)


def _few(names: list[str], most: int = 12) -> list[str]:
    return names if len(names) <= most else [*names[:most], f"and {len(names) - most} more"]
