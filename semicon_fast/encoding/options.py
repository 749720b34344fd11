"""Options and results of an encoding."""

from __future__ import annotations

import os
from dataclasses import dataclass, field

from .. import distributed


@dataclass(frozen=True)
class Options:
    """Options of an encoding.

    Attributes:
        batch_size: images per forward pass.
        workers: decoding processes of each encoding process; None: for a CUDA device all its
            processor cores, for the CPU half of them.
        precision: see `Runner`.
        compile: see `Runner`.
        on_broken: "error": images that cannot be decoded are an error, after all others have been
            encoded and saved; "skip": they are left out.
        part_images: images per part, that is between two checkpoints, rounded up to whole batches.
        index: also write the index file of a gallery.
    """

    batch_size: int = 64
    workers: int | None = None
    precision: str = "fp32"
    compile: bool = False
    on_broken: str = "error"
    part_images: int = 512
    index: bool = False

    def __post_init__(self) -> None:
        if self.batch_size < 1 or self.part_images < 1:
            raise ValueError("batch_size and part_images must be at least 1")
        if self.on_broken not in ("error", "skip"):
            raise ValueError(f'on_broken must be "error" or "skip", got {self.on_broken!r}')
        if self.workers is not None and self.workers < 0:
            raise ValueError(f"workers must be 0 or more, got {self.workers}")

    def workers_for(self, device: str) -> int:
        """Number of decoding processes of each encoding process."""
        if self.workers is not None:
            return self.workers
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
        share = (cores or 1) // distributed.world_size()
        return max(1, share if device.startswith("cuda") else share // 2)


@dataclass(frozen=True)
class Summary:
    """Result of an encoding.

    count: images in the gallery. bits: code length. encoded: images that this call of this process
    encoded. broken: "path (cause)" of the images that were left out. seconds: wall time.
    passed_over: reason -> how many files, folders, links or members the listing left out. notes:
    what was taken otherwise than one may expect, such as images without a label -> how many.
    """

    count: int
    bits: int
    encoded: int
    broken: list[str]
    seconds: float
    passed_over: dict[str, int] = field(default_factory=dict)
    notes: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class FeaturesSummary:
    """Result of an extraction of features. width: F of the features; else as `Summary`."""

    count: int
    width: int
    encoded: int
    broken: list[str]
    seconds: float
    passed_over: dict[str, int] = field(default_factory=dict)
    notes: dict[str, int] = field(default_factory=dict)
