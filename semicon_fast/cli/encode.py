"""`semicon-fast encode`: encode images as packed binary codes, into a gallery that can be searched.

Examples:
  semicon-fast encode runs/cub-48 photos/ -o gallery
  semicon-fast encode runs/cub-48 photos/ -o gallery --resume
  torchrun --nproc-per-node 8 -m semicon_fast encode runs/cub-48 shards/ -o gallery
"""

import hashlib
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from .. import torchrun
from ..search.gallery_files import check_free
from .arguments import ON_BROKEN, PRECISIONS, check_choice, check_device, check_exists
from .common import choose_device, console, model_file, print_json, say, say_passed_over
from .options import AsJson, Device, Model, Output, Resume

if TYPE_CHECKING:
    from rich.progress import Progress


def encode(
    model: Model,
    images: Annotated[
        list[Path],
        typer.Argument(
            help="Images, folders of images, lists of paths (.txt), tar or Parquet files."
        ),
    ],
    output: Output,
    on_broken: Annotated[
        str,
        typer.Option(help="What to do with files that cannot be decoded: error (stop) or skip."),
    ] = "error",
    batch_size: Annotated[int, typer.Option(min=1, help="Images per forward pass.")] = 64,
    device: Device = "auto",
    precision: Annotated[
        str, typer.Option(help=f"Precision of the network: {', '.join(PRECISIONS)}.")
    ] = "fp32",
    compiled: Annotated[
        bool, typer.Option("--compile", help="Compile the network with torch.compile.")
    ] = False,
    workers: Annotated[
        int | None,
        typer.Option(min=0, help="Processes that decode images; by default set by the CPU count."),
    ] = None,
    part_size: Annotated[
        int, typer.Option(min=1, help="Images to encode between two saves.")
    ] = 512,
    index: Annotated[bool, typer.Option("--index", help="Also build the search index.")] = False,
    resume: Resume = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace the output folder if it exists.")
    ] = False,
    from_checkpoint: Annotated[
        bool,
        typer.Option(
            "--from-checkpoint", help="Use the best model so far of a run that is not finished."
        ),
    ] = False,
    as_json: AsJson = False,
) -> None:
    check_device(device)
    check_choice("--precision", precision, PRECISIONS)
    check_choice("--on-broken", on_broken, ON_BROKEN)
    if from_checkpoint and not model.is_dir():
        raise ValueError(f"--from-checkpoint needs the folder of a run, {model} is none")
    file = None if from_checkpoint else model_file(model)
    # Processes of torchrun check this together, and one of them reports an error for all.
    if not resume and not torchrun.launched():
        check_exists(images)
        check_free(output, overwrite)
    from .. import distributed, models
    from ..encoding import Options, encode_images

    options = Options(batch_size, workers, precision, compiled, on_broken, part_size, index)
    device = choose_device(device)
    distributed.join("cuda" if device.startswith("cuda") else "cpu")
    if device == "cuda" and distributed.world_size() > 1:
        device = f"cuda:{distributed.local_rank()}"
    out = console(as_json)
    file = file or checkpoint_file(model, out)
    network = models.load(file)
    about = {
        "model": str(file.resolve()),
        "model_sha256": hashlib.sha256(file.read_bytes()).hexdigest(),
        "network": network.config(),
        "bit_groups": {n: [s.start, s.stop] for n, s in network.bit_groups.items()},
        "precision": precision,
    }
    if record := models.storage.record_of(file):
        about["model_record"] = record
    with _bar(out) as bar:
        task = bar.add_task("encoding", total=None)
        found = encode_images(
            network,
            images,
            output,
            about=about,
            device=device,
            options=options,
            resume=resume,
            overwrite=overwrite,
            progress=lambda done, total: bar.update(task, completed=done, total=total),
        )
    if not distributed.is_main():
        return
    if as_json:
        print_json({"gallery": str(output), **asdict(found)})
        return
    say(out, f"{output}: {found.count:,} images, codes of {found.bits} bits")
    if found.broken:
        say(out, f"skipped {len(found.broken)} that could not be decoded; gallery.json lists them")
    say_passed_over(out, found.passed_over, found.notes)


def checkpoint_file(run: Path, out: Console) -> Path:
    """The file of the model of a run; of one that is not finished, the best so far is written.

    Raises ValueError where there is no checkpoint to take it from.
    """
    from .. import distributed
    from ..training.best import described, export_best

    finished = run / "model.safetensors"
    if finished.is_file():
        say(out, f"{run} is finished: taking its model.safetensors")
        return finished

    def warn(text: str) -> None:
        say(out, ("warning:", "yellow"), f" {text}")

    def export() -> str:
        path, record = export_best(run, warn)
        say(out, f"{path}: {described(record)}")
        return str(path)

    return Path(distributed.on_main(export))


def _bar(out: Console) -> "Progress":
    """A progress bar, shown only by the main process and only on a terminal."""
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TaskProgressColumn,
        TextColumn,
        TimeRemainingColumn,
    )

    from .. import distributed

    columns: Sequence[Any] = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TaskProgressColumn(show_speed=True),
        TimeRemainingColumn(),
    )
    return Progress(
        *columns,
        console=out,
        transient=True,
        disable=not (out.is_terminal and distributed.is_main()),
    )
