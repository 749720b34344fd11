"""Encodes images into a gallery of codes or a file of features: list the images, encode them in
parts, assemble the parts."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .. import distributed
from ..data.catalog import list_images
from ..data.passed_over import UNLABELLED, PassedOver, in_order
from ..models import HashModel
from .batches import decoded_batches
from .checkpoint import EncodingCheckpoint, Part
from .options import FeaturesSummary, Options, Summary
from .products import FeaturesProduct, GalleryProduct, Product
from .runner import Runner

Progress = Callable[[int, int], None]
# Polling interval of process 0 while other processes finish their parts.
WAIT_SECONDS = 0.5


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
    product = GalleryProduct(Path(output), network.code_length, options.index)
    done = _run(network, images, product, about, device, options, resume, overwrite, progress)
    return Summary(bits=network.code_length, **done)


def extract_features(
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
) -> FeaturesSummary:
    """Write the network's pooled features of images, `HashOutput.features`, to an .npz file.

    The file holds features float32 (N, F), names and labels (N,) as texts, "" for no label, and
    "about", JSON text; `data.open_vectors` reads it, and NumPy does. All else is as in
    `encode_images`: parts in OUTPUT.parts, resumption, processes, errors.

    Args:
        output: the file, with the suffix .npz.
    """
    if Path(output).suffix.lower() != ".npz":
        raise ValueError(f"output must end in .npz, got {output}")
    options = options or Options()
    product = FeaturesProduct(Path(output), network.feature_size)
    done = _run(network, images, product, about, device, options, resume, overwrite, progress)
    return FeaturesSummary(width=network.feature_size, **done)


def _run(
    network: HashModel,
    images: Sequence[str | os.PathLike[str]],
    product: Product,
    about: dict[str, Any] | None,
    device: str,
    options: Options,
    resume: bool,
    overwrite: bool,
    progress: Progress | None,
) -> dict[str, Any]:
    """Encode the images into the product; the fields of a summary that both kinds have."""
    runner = Runner(
        network,
        device,
        precision=options.precision,
        compile=options.compile,
        output=product.output,
    )
    checkpoint, started = EncodingCheckpoint(product.path), time.monotonic()
    inputs = {**_inputs(network, images, options), "output": product.output, "width": product.width}
    missing = distributed.on_main(
        lambda: _prepare(
            checkpoint, images, inputs, about or {}, options, product, resume, overwrite
        )
    )
    encoded = 0
    if missing is not None:
        checkpoint.open()
        mine = missing[distributed.rank() :: distributed.world_size()]
        encoded = _encode_parts(runner, checkpoint, mine, options, progress)
    done = {"count": 0, "encoded": encoded, "broken": []}
    if distributed.is_main():
        if missing is not None:
            while checkpoint.missing_parts():
                time.sleep(WAIT_SECONDS)
            _assemble(checkpoint, options, product)
        info = product.info() or {}
        for name in ("count", "broken", "passed_over", "notes"):
            done[name] = info.get(name, done.get(name, {}))
    return {**done, "seconds": time.monotonic() - started}


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
    product: Product,
    resume: bool,
    overwrite: bool,
) -> list[int] | None:
    """Create or check the checkpoint; returns the parts that are missing, or None if the product is
    finished already."""
    if resume and checkpoint.exists:
        checkpoint.open()
        checkpoint.check_inputs(inputs)
        if options.on_broken == "error":
            checkpoint.discard_broken_parts()
        return checkpoint.missing_parts()
    if resume and (info := product.info()) is not None:
        if info.get("model_sha256") != about.get("model_sha256"):
            raise ValueError(f"{product.path} is a finished {product.name} of another model")
        checkpoint.remove()
        return None
    if checkpoint.exists and not overwrite:
        raise ValueError(
            f"an encoding to {checkpoint.output} was begun but not finished: its parts are in "
            f"{checkpoint.folder}; continue with --resume, or start again with --overwrite"
        )
    product.check_free(overwrite)
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
    values: list[np.ndarray] = []
    kept: list[np.ndarray] = []
    broken: list[str] = []
    done = encoded = 0
    for found, batch in runner.stream((batch.pixels, batch) for batch in batches):
        values.append(found)
        kept.append(batch.kept)
        broken += batch.broken
        done += len(batch.kept) + len(batch.broken)
        encoded += len(batch.kept)
        if batch.last:
            checkpoint.write_part(
                batch.part, Part(np.concatenate(values), np.concatenate(kept), broken)
            )
            values, kept, broken = [], [], []
        if progress is not None:
            progress(done, total)
    return encoded


def _assemble(checkpoint: EncodingCheckpoint, options: Options, product: Product) -> None:
    """Assemble the product from the parts and delete the checkpoint.

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
    product.write(checkpoint.pieces(), count, info)
    checkpoint.remove()
