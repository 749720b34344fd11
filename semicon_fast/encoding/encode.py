"""Images to a gallery: listed once, encoded in parts, put together when all parts are there."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .. import distributed
from ..data.catalog import listed
from ..models import HashModel
from ..search.gallery import write_gallery
from ..search.gallery_files import check_free
from .batches import decoded
from .checkpoint import Part, Work
from .runner import Runner

Progress = Callable[[int, int], None]
# Between two looks at whether the other processes have finished their parts.
WAIT_SECONDS = 0.5


@dataclass(frozen=True)
class Options:
    """How images are encoded.

    batch_size: images in one pass through the network. workers: processes that decode; None: as
    many as there are processors for a CUDA device, half of them for the CPU. precision, compile:
    see `Runner`. on_broken: "error" stops, with everything kept, where files do not decode;
    "skip" leaves them out. part_images: images between two saves, rounded up to whole batches.
    index: build the index file too.
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
        """Decoding processes of each encoding process."""
        if self.workers is not None:
            return self.workers
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
        share = (cores or 1) // distributed.world_size()
        return max(1, share if device.startswith("cuda") else share // 2)


@dataclass(frozen=True)
class Summary:
    """count: images in the gallery; encoded: of them now, by this process; broken: what did not
    decode, and why; seconds."""

    count: int
    bits: int
    encoded: int
    broken: list[str]
    seconds: float


def encode_images(
    network: HashModel,
    images: Sequence[str | os.PathLike[str]],
    output: str | os.PathLike[str],
    *,
    about: dict[str, Any] | None = None,
    device: str = "cpu",
    options: Options | None = None,
    resume: bool = False,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> Summary:
    """Encodes `images` (see `data.catalog.listed`) into a gallery at `output`.

    Codes are written part by part into the folder OUTPUT.parts; a process that was killed at any
    moment is followed by one with resume=True, and the gallery is, byte for byte, that of an
    encoding that was never stopped (on the same device). Memory does not grow with the images.
    Under torchrun every process calls this and takes its share of the parts, through one file
    system; process 0 puts the gallery together.

    about: what else gallery.json is to say of what made the codes, JSON-able.
    resume: go on with what is there; without it an encoding that was begun is an error, which
    overwrite=True, taking the gallery's place too, forgets. progress: called with the images done
    and all of them, of this process.

    Raises:
        ValueError: no image, another network or other options at a resume, files that do not
            decode (all named; their codes' neighbours are kept), outputs that are not finite.
        FileExistsError: `output` exists. OSError: a file that could not be written.
    """
    options = options or Options()
    runner = Runner(network, device, precision=options.precision, compile=options.compile)
    work, started = Work(Path(output)), time.monotonic()
    what = _what(network, images, options)
    missing = distributed.on_main(
        lambda: _prepare(work, images, what, about or {}, options, resume, overwrite)
    )
    encoded = 0
    if missing is not None:
        work.open()
        mine = missing[distributed.rank() :: distributed.world_size()]
        encoded = _encode_parts(runner, work, mine, options, progress)
    if not distributed.is_main():
        return Summary(0, network.code_length, encoded, [], time.monotonic() - started)
    if missing is not None:
        while work.missing():
            time.sleep(WAIT_SECONDS)
        _assemble(work, options)
    said = json.loads((work.output / "gallery.json").read_text("utf-8"))
    broken, seconds = said.get("broken", []), time.monotonic() - started
    return Summary(said["count"], said["bits"], encoded, broken, seconds)


def _what(network: HashModel, images: Sequence[Any], options: Options) -> dict[str, Any]:
    """What the codes depend on, and so must be the same at a resume."""
    weights = hashlib.sha256()
    for name, tensor in network.state_dict().items():
        weights.update(name.encode() + tensor.cpu().contiguous().numpy().tobytes())
    return {
        "images": [os.path.realpath(path) for path in images],
        "weights": weights.hexdigest(),
        "network": network.config(),
        "bits": network.code_length,
        "preprocess": network.preprocess,
        "batch_size": options.batch_size,
        "precision": options.precision,
    }


def _prepare(
    work: Work,
    images: Sequence[Any],
    what: dict[str, Any],
    about: dict[str, Any],
    options: Options,
    resume: bool,
    overwrite: bool,
) -> list[int] | None:
    """Afterwards there is a manifest, and the parts to be made are returned; or None, for a gallery
    that is finished."""
    if resume and work.exists:
        work.open()
        work.check(what)
        if options.on_broken == "error":
            work.forget_broken()
        return work.missing()
    if resume and (work.output / "gallery.json").is_file():
        said = json.loads((work.output / "gallery.json").read_text("utf-8"))
        if said.get("model_sha256") != about.get("model_sha256"):
            raise ValueError(f"{work.output} is a finished gallery, made by another model")
        work.remove()
        return None
    if work.exists and not overwrite:
        raise ValueError(
            f"an encoding to {work.output} was begun: its parts are in {work.folder}; "
            "go on with --resume, or start again with --overwrite"
        )
    check_free(work.output, overwrite)
    batches = -(-options.part_images // options.batch_size)
    work.create(listed(images), {**what, "about": about}, batches * options.batch_size)
    return work.missing()


def _encode_parts(
    runner: Runner, work: Work, parts: list[int], options: Options, progress: Progress | None
) -> int:
    """Writes each of `parts` as soon as it is whole; the number of images encoded."""
    total = sum(work.images_in(part) for part in parts)
    batches = decoded(
        work,
        parts,
        runner.transform,
        options.batch_size,
        workers=options.workers_for(runner.device.type),
        pinned=runner.device.type == "cuda",
    )
    codes: list[np.ndarray] = []
    kept: list[np.ndarray] = []
    broken: list[str] = []
    done = encoded = 0
    for found, batch in runner.stream((batch.pixels, batch) for batch in batches):
        codes.append(found)
        kept.append(batch.kept)
        broken += batch.broken
        done += len(batch.kept) + len(batch.broken)
        encoded += len(batch.kept)
        if batch.last:
            work.write(batch.part, Part(np.concatenate(codes), np.concatenate(kept), broken))
            codes, kept, broken = [], [], []
        if progress is not None:
            progress(done, total)
    return encoded


def _assemble(work: Work, options: Options) -> None:
    """Parts to gallery. Raises ValueError where files did not decode, unless they are skipped."""
    broken: list[str] = []
    count = 0
    for part in work.parts:
        found = work.read(part)
        broken += found.broken
        count += len(found.kept)
    if broken and options.on_broken == "error":
        raise ValueError(
            f"{len(broken)} of {work.manifest['count']} images do not decode: {'; '.join(broken)}. "
            "The others are encoded; add --resume --on-broken skip to leave these out"
        )
    if count == 0:
        work.remove()
        raise ValueError("no image could be read")
    info = {**work.manifest["about"], "broken": broken}
    write_gallery(
        work.output, work.pieces(), work.manifest["bits"], count, info, index=options.index
    )
    work.remove()
