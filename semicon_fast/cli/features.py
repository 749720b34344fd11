"""`semicon-fast features`: write a network's features of images to a file, one vector an image.

The file (.npz) holds features, names and labels; `fit`, `encode` and `recall` read it, and so does
NumPy.

Examples:
  semicon-fast features runs/cub-48 photos/ -o features.npz
  semicon-fast features runs/cub-48 photos/ -o features.npz --resume
"""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from .. import torchrun
from ..data.vector_files import check_free
from .arguments import ON_BROKEN, PRECISIONS, check_choice, check_device, check_exists
from .common import console, model_file, print_json, say, say_passed_over
from .encode import encoding_progress, opened_network
from .options import (
    AsJson,
    BatchSize,
    Compiled,
    Device,
    Images,
    Model,
    OnBroken,
    Overwrite,
    PartSize,
    Precision,
    Resume,
    Workers,
)


def features(
    model: Model,
    images: Images,
    output: Annotated[Path, typer.Option("--output", "-o", help="File (.npz) to write to.")],
    on_broken: OnBroken = "error",
    batch_size: BatchSize = 64,
    device: Device = "auto",
    precision: Precision = "fp32",
    compiled: Compiled = False,
    workers: Workers = None,
    part_size: PartSize = 512,
    resume: Resume = False,
    overwrite: Overwrite = False,
    as_json: AsJson = False,
) -> None:
    check_device(device)
    check_choice("--precision", precision, PRECISIONS)
    check_choice("--on-broken", on_broken, ON_BROKEN)
    file = model_file(model)
    if output.suffix.lower() != ".npz":
        raise ValueError(f"--output must end in .npz, got {output}")
    # Processes of torchrun check this together, and one of them reports an error for all.
    if not resume and not torchrun.launched():
        check_exists(images)
        check_free(output, overwrite)
    from .. import distributed
    from ..encoding import Options, extract_features

    options = Options(batch_size, workers, precision, compiled, on_broken, part_size)
    network, about, device = opened_network(lambda: file, device, precision)
    out = console(as_json)
    with encoding_progress(out) as progress:
        found = extract_features(
            network,
            images,
            output,
            about=about,
            device=device,
            options=options,
            resume=resume,
            overwrite=overwrite,
            progress=progress,
        )
    if not distributed.is_main():
        return
    if as_json:
        print_json({"features": str(output), **asdict(found)})
        return
    say(out, f"{output}: {found.count:,} images, features of {found.width:,} values")
    if found.broken:
        say(out, f"skipped {len(found.broken)} that could not be decoded: {found.broken[0]} ...")
    say_passed_over(out, found.passed_over, found.notes)
