"""`semicon-fast encode`: encode images as packed binary codes, into a gallery that can be searched.

With a hasher that `fit` wrote in place of a network, files of feature vectors are encoded.

Examples:
  semicon-fast encode runs/cub-48 photos/ -o gallery
  semicon-fast encode runs/cub-48 photos/ -o gallery --resume
  torchrun --nproc-per-node 8 -m semicon_fast encode runs/cub-48 shards/ -o gallery
  semicon-fast encode hasher features.npy --labels labels.npy -o gallery
"""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from .. import torchrun
from ..data.vector_files import place
from ..search.gallery_files import check_free
from .arguments import (
    ON_BROKEN,
    PRECISIONS,
    check_choice,
    check_device,
    check_exists,
    check_texts,
    hasher_file,
)
from .common import choose_device, console, model_file, print_json, say, say_passed_over
from .options import (
    AsJson,
    BatchSize,
    Compiled,
    Device,
    Labels,
    OnBroken,
    Output,
    Overwrite,
    PartSize,
    Precision,
    Resume,
    Workers,
)

if TYPE_CHECKING:
    from ..models import HashModel


def encode(
    model: Annotated[
        Path,
        typer.Argument(
            help="Folder of a finished run, or its model.safetensors; or a hasher that "
            "`semicon-fast fit` wrote."
        ),
    ],
    images: Annotated[
        list[Path],
        typer.Argument(
            help="Images, folders of images, lists of paths (.txt), tar or Parquet files; for a "
            "hasher, files of feature vectors."
        ),
    ],
    output: Output,
    on_broken: OnBroken = "error",
    batch_size: BatchSize = 64,
    device: Device = "auto",
    precision: Precision = "fp32",
    compiled: Compiled = False,
    workers: Workers = None,
    part_size: PartSize = 512,
    index: Annotated[bool, typer.Option("--index", help="Also build the search index.")] = False,
    resume: Resume = False,
    overwrite: Overwrite = False,
    from_checkpoint: Annotated[
        bool,
        typer.Option(
            "--from-checkpoint", help="Use the best model so far of a run that is not finished."
        ),
    ] = False,
    labels: Labels = None,
    names: Annotated[
        str | None,
        typer.Option("--names", help="Names of vectors: .npy, .npz, or lines of text (.txt)."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    check_device(device)
    check_choice("--precision", precision, PRECISIONS)
    check_choice("--on-broken", on_broken, ON_BROKEN)
    if hasher_file(model):
        given = {
            "--on-broken": on_broken != "error",
            "--batch-size": batch_size != 64,
            "--part-size": part_size != 512,
            "--precision": precision != "fp32",
            "--compile": compiled,
            "--workers": workers is not None,
            "--resume": resume,
            "--from-checkpoint": from_checkpoint,
        }
        if unused := [option for option, is_given in given.items() if is_given]:
            raise ValueError(f"{unused[0]} is for images, {model} is a hasher of feature vectors")
        _encode_vectors(model, images, output, labels, names, device, index, overwrite, as_json)
        return
    if labels is not None or names is not None:
        option = "--labels" if labels is not None else "--names"
        raise ValueError(f"{option} is for feature vectors, {model} is no hasher from `fit`")
    if from_checkpoint and not model.is_dir():
        raise ValueError(f"--from-checkpoint needs the folder of a run, {model} is none")
    file = None if from_checkpoint else model_file(model)
    # Processes of torchrun check this together, and one of them reports an error for all.
    if not resume and not torchrun.launched():
        check_exists(images)
        check_free(output, overwrite)
    from .. import distributed
    from ..encoding import Options, encode_images

    options = Options(batch_size, workers, precision, compiled, on_broken, part_size, index)
    out = console(as_json)
    network, about, device = opened_network(
        lambda: file or checkpoint_file(model, out), device, precision
    )
    with encoding_progress(out) as progress:
        found = encode_images(
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
        print_json({"gallery": str(output), **asdict(found)})
        return
    say(out, f"{output}: {found.count:,} images, codes of {found.bits} bits")
    if found.broken:
        say(out, f"skipped {len(found.broken)} that could not be decoded; gallery.json lists them")
    say_passed_over(out, found.passed_over, found.notes)


def opened_network(
    find: Callable[[], Path], device: str, precision: str
) -> "tuple[HashModel, dict[str, Any], str]":
    """The network of a file, what is recorded about it, and the device of this process.

    find: returns the file, after the processes of torchrun have joined.
    """
    from .. import distributed, models

    device = choose_device(device)
    distributed.join("cuda" if device.startswith("cuda") else "cpu")
    if device == "cuda" and distributed.world_size() > 1:
        device = f"cuda:{distributed.local_rank()}"
    file = find()
    network = models.load(file)
    about = {
        **_origin(file),
        "network": network.config(),
        "bit_groups": {n: [s.start, s.stop] for n, s in network.bit_groups.items()},
        "precision": precision,
    }
    if record := models.storage.record_of(file):
        about["model_record"] = record
    return network, about, device


def _origin(file: Path) -> dict[str, Any]:
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    return {"model": str(file.resolve()), "model_sha256": digest}


def _encode_vectors(
    hasher: Path,
    files: Sequence[Path],
    output: Path,
    labels: str | None,
    names: str | None,
    device: str,
    index: bool,
    overwrite: bool,
    as_json: bool,
) -> None:
    places = [place(file) for file in files]
    for option, texts in (("--labels", labels), ("--names", names)):
        check_texts(option, texts)
        if texts is not None and len(places) > 1:
            raise ValueError(f"{option} is for one file of vectors, got {len(places)}")
    check_free(output, overwrite)
    from .. import shallow
    from ..data.vectors import open_vectors, read_labels, read_names
    from ..encoding import encode_vectors

    device = choose_device(device)
    found = shallow.load(hasher)
    sources = [
        open_vectors(where).replaced(
            labels=None if labels is None else read_labels(labels),
            names=None if names is None else read_names(names),
        )
        for where in places
    ]
    out = console(as_json)
    with encoding_progress(out) as progress:
        made = encode_vectors(
            found,
            sources,
            output,
            about={**_origin(hasher), "hasher": found.name},
            device=device,
            index=index,
            overwrite=overwrite,
            progress=progress,
        )
    if as_json:
        print_json({"gallery": str(output), **asdict(made)})
    else:
        say(out, f"{output}: {made.count:,} vectors, codes of {made.bits} bits")


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


@contextmanager
def encoding_progress(out: Console) -> Iterator[Callable[[int, int], None]]:
    """A progress bar, which `progress(done, total)` moves; shown only by the main process and only
    on a terminal."""
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
    hidden = not (out.is_terminal and distributed.is_main())
    with Progress(*columns, console=out, transient=True, disable=hidden) as bar:
        task = bar.add_task("encoding", total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
