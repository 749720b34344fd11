"""`semicon-fast encode`: turn images into packed binary codes.

Examples: semicon-fast encode runs/cub-48 photos/ -o gallery
          semicon-fast encode runs/cub-48 photos/ -o gallery --resume
          torchrun --nproc-per-node 8 -m semicon_fast encode runs/cub-48 shards/ -o gallery
"""

import hashlib
from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskProgressColumn,
    TextColumn,
    TimeRemainingColumn,
    track,
)

from .common import choose_device, console, errors_as_sentences, help_of, model_file, print_json

if TYPE_CHECKING:
    from ..models import HashModel


def register(app: typer.Typer) -> None:
    app.command("encode", help=help_of(__doc__))(encode)


@errors_as_sentences
def encode(
    model: Annotated[Path, typer.Argument(help="A run's folder, or its model.safetensors.")],
    images: Annotated[
        list[Path],
        typer.Argument(help="Images, folders, lists (.txt), tar shards (.tar), .parquet files."),
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder to write.")],
    on_broken: Annotated[
        str, typer.Option(help="error: stop at files that do not decode; skip: leave them out.")
    ] = "error",
    batch_size: Annotated[int, typer.Option(min=1)] = 64,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1 ...")] = "auto",
    precision: Annotated[str, typer.Option(help="fp32, bf16 or fp16, of the network.")] = "fp32",
    compiled: Annotated[
        bool, typer.Option("--compile", help="torch.compile, with CUDA graphs on a device.")
    ] = False,
    workers: Annotated[
        int | None, typer.Option(min=0, help="Processes that decode; by default by the processors.")
    ] = None,
    part_size: Annotated[int, typer.Option(min=1, help="Images between two saves.")] = 512,
    index: Annotated[bool, typer.Option("--index", help="Build the search index too.")] = False,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with an encoding that was stopped.")
    ] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the folder.")] = False,
    from_checkpoint: Annotated[
        bool,
        typer.Option(
            "--from-checkpoint", help="Take the best model so far of a run that is not finished."
        ),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    from .. import distributed, models
    from ..encoding import Options, encode_images

    options = Options(batch_size, workers, precision, compiled, on_broken, part_size, index)
    device = choose_device(device)
    distributed.join("cuda" if device.startswith("cuda") else "cpu")
    if device == "cuda" and distributed.world_size() > 1:
        device = f"cuda:{distributed.local_rank()}"
    out = console(as_json)
    file = checkpoint_file(model, out) if from_checkpoint else model_file(model)
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
    out.print(f"{output}: {found.count:,} images, codes of {found.bits} bits")
    if found.broken:
        out.print(f"left out {len(found.broken)} that did not decode, listed in gallery.json")


def checkpoint_file(run: Path, out: Console) -> Path:
    """The file of the model of a run; of one that is not finished, the best so far is written.

    Raises ValueError where there is no checkpoint to take it from.
    """
    from .. import distributed
    from ..training.best import described, export_best

    if not run.is_dir():
        raise ValueError(f"--from-checkpoint needs a run's folder, {run} is none")
    finished = run / "model.safetensors"
    if finished.is_file():
        text = f"{run} is finished: taking its model.safetensors"
        out.print(text, markup=False, highlight=False, soft_wrap=True)
        return finished

    def warn(text: str) -> None:
        out.print(f"[yellow]warning:[/yellow] {escape(text)}", highlight=False, soft_wrap=True)

    def export() -> str:
        path, record = export_best(run, warn)
        out.print(f"{path}: {described(record)}", markup=False, highlight=False, soft_wrap=True)
        return str(path)

    return Path(distributed.on_main(export))


def _bar(out: Console) -> Progress:
    """Images done, of how many, and the time that is left; silent where no one watches."""
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


def encode_files(
    network: "HashModel",
    paths: Sequence[Path],
    device: str,
    out: Console,
    *,
    batch_size: int = 64,
    on_broken: str = "error",
) -> tuple[np.ndarray, list[int], list[str]]:
    """Packed codes of the readable images, their positions in `paths`, and what did not decode.

    Raises ValueError that names every broken file, unless `on_broken` is "skip".
    """
    from ..data.decode import Readable, decode
    from ..encoding import Runner

    if on_broken not in ("error", "skip"):
        raise ValueError(f'--on-broken must be "error" or "skip", got {on_broken!r}')
    runner = Runner(network, device)
    codes: list[np.ndarray] = []
    kept: list[int] = []
    broken: list[str] = []
    starts = range(0, len(paths), batch_size)
    for start in track(starts, "encoding", console=out, disable=not out.is_terminal):
        images = Readable(partial(decode, path) for path in paths[start : start + batch_size])
        codes.append(runner(runner.transform.pixels(images)))
        kept += [start + position for position in images.kept]
        broken += images.broken
    if broken and on_broken == "error":
        raise ValueError(
            f"{len(broken)} of {len(paths)} images do not decode: {'; '.join(broken)}. "
            "Add --on-broken skip to leave them out"
        )
    if not kept:
        raise ValueError("no image could be read")
    return np.concatenate(codes), kept, broken
