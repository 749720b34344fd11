"""Encodes images into a gallery: list the images, encode them in parts, assemble the parts."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from .. import distributed
from ..data.catalog import list_images
from ..data.passed_over import UNLABELLED, PassedOver, in_order
from ..models import HashModel
from ..search.gallery import write_gallery
from ..search.gallery_files import check_free
from .batches import decoded_batches
from .checkpoint import EncodingCheckpoint, Part
from .runner import Runner

Progress = Callable[[int, int], None]
# Polling interval of process 0 while other processes finish their parts.
WAIT_SECONDS = 0.5


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
        index: also write the index file.
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
    """Encode images into a gallery.

    Codes are written part by part into the folder OUTPUT.parts. After a crash or kill at any time,
    resume=True continues, and the gallery is byte for byte that of an uninterrupted encoding (on
    the same device). Memory use does not depend on the number of images. Under torchrun every
    process calls this function and encodes its share of the parts through a shared file system;
    process 0 assembles the gallery.

    Args:
        network: the hashing network, with `preprocess`.
        images: paths, see `data.catalog.list_images`.
        output: folder of the gallery.
        about: additional entries of gallery.json about the origin of the codes, JSON-serialisable.
        device: "cpu", "cuda", "cuda:1" ...
        options: see `Options`.
        resume: continue from the checkpoint in OUTPUT.parts, if there is one. Without it a
            checkpoint is an error, unless overwrite is given.
        overwrite: discard a checkpoint and replace an existing gallery.
        progress: called as progress(done, total) with the image counts of this process.

    Returns:
        a summary; in processes other than 0 without what the whole gallery has.

    Raises:
        ValueError: no images; another network or other options on resume; images that cannot be
            decoded (all are named, and the codes of the others are kept); outputs that are not
            finite.
        FileExistsError: `output` exists.
        OSError: a file cannot be written.
    """
    options = options or Options()
    runner = Runner(network, device, precision=options.precision, compile=options.compile)
    checkpoint, started = EncodingCheckpoint(Path(output)), time.monotonic()
    inputs = _inputs(network, images, options)
    missing = distributed.on_main(
        lambda: _prepare(checkpoint, images, inputs, about or {}, options, resume, overwrite)
    )
    encoded = 0
    if missing is not None:
        checkpoint.open()
        mine = missing[distributed.rank() :: distributed.world_size()]
        encoded = _encode_parts(runner, checkpoint, mine, options, progress)
    if not distributed.is_main():
        return Summary(0, network.code_length, encoded, [], time.monotonic() - started)
    if missing is not None:
        while checkpoint.missing_parts():
            time.sleep(WAIT_SECONDS)
        _assemble(checkpoint, options)
    info = json.loads((checkpoint.output / "gallery.json").read_text("utf-8"))
    broken, seconds = info.get("broken", []), time.monotonic() - started
    passed_over, notes = info.get("passed_over", {}), info.get("notes", {})
    return Summary(info["count"], info["bits"], encoded, broken, seconds, passed_over, notes)


def _inputs(network: HashModel, images: Sequence[Any], options: Options) -> dict[str, Any]:
    """What the codes depend on; it must be the same on resume."""
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
    checkpoint: EncodingCheckpoint,
    images: Sequence[Any],
    inputs: dict[str, Any],
    about: dict[str, Any],
    options: Options,
    resume: bool,
    overwrite: bool,
) -> list[int] | None:
    """Create or check the checkpoint; returns the parts that are missing, or None if the gallery is
    finished already."""
    if resume and checkpoint.exists:
        checkpoint.open()
        checkpoint.check_inputs(inputs)
        if options.on_broken == "error":
            checkpoint.discard_broken_parts()
        return checkpoint.missing_parts()
    if resume and (checkpoint.output / "gallery.json").is_file():
        info = json.loads((checkpoint.output / "gallery.json").read_text("utf-8"))
        if info.get("model_sha256") != about.get("model_sha256"):
            raise ValueError(f"{checkpoint.output} is a finished gallery of another model")
        checkpoint.remove()
        return None
    if checkpoint.exists and not overwrite:
        raise ValueError(
            f"an encoding to {checkpoint.output} was begun but not finished: its parts are in "
            f"{checkpoint.folder}; continue with --resume, or start again with --overwrite"
        )
    check_free(checkpoint.output, overwrite)
    batches = -(-options.part_images // options.batch_size)
    passed = PassedOver()
    entries = list_images(images, passed)
    inputs = {**inputs, "about": about}
    checkpoint.create(entries, inputs, batches * options.batch_size, passed)
    return checkpoint.missing_parts()


def _encode_parts(
    runner: Runner,
    checkpoint: EncodingCheckpoint,
    parts: list[int],
    options: Options,
    progress: Progress | None,
) -> int:
    """Encode `parts` and write each one when it is complete; returns the number of images."""
    total = sum(checkpoint.image_count(part) for part in parts)
    batches = decoded_batches(
        checkpoint,
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
            checkpoint.write_part(
                batch.part, Part(np.concatenate(codes), np.concatenate(kept), broken)
            )
            codes, kept, broken = [], [], []
        if progress is not None:
            progress(done, total)
    return encoded


def _assemble(checkpoint: EncodingCheckpoint, options: Options) -> None:
    """Assemble the gallery from the parts and delete the checkpoint.

    Raises ValueError if images could not be decoded, unless they are skipped.
    """
    broken: list[str] = []
    count = unlabelled = 0
    for part in checkpoint.parts:
        found, entries = checkpoint.read_part(part), checkpoint.entries(part)
        broken += found.broken
        count += len(found.kept)
        unlabelled += sum(entries[i].label == "" for i in found.kept.tolist())
    if broken and options.on_broken == "error":
        raise ValueError(
            f"{len(broken)} of {checkpoint.manifest['count']} images do not decode: "
            f"{'; '.join(broken)}. "
            "The others are encoded; add --resume --on-broken skip to leave these out"
        )
    if count == 0:
        checkpoint.remove()
        raise ValueError("no image could be read")
    manifest = checkpoint.manifest
    notes = in_order({**manifest.get("notes", {}), UNLABELLED: unlabelled})
    listed = {"passed_over": manifest.get("passed_over", {}), "notes": notes}
    info = {**manifest["about"], "broken": broken, **listed}
    write_gallery(
        checkpoint.output,
        checkpoint.gallery_pieces(),
        checkpoint.manifest["bits"],
        count,
        info,
        index=options.index,
    )
    checkpoint.remove()
