"""`semicon-fast encode`: turn images into packed binary codes.

Example: semicon-fast encode runs/cub-48 photos/ -o gallery
"""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import numpy as np
import typer
from rich.console import Console
from rich.progress import track

from .common import choose_device, console, errors_as_sentences, help_of, model_file, print_json

if TYPE_CHECKING:
    from ..models import HashModel


def register(app: typer.Typer) -> None:
    app.command("encode", help=help_of(__doc__))(encode)


@errors_as_sentences
def encode(
    model: Annotated[Path, typer.Argument(help="A run's folder, or its model.safetensors.")],
    images: Annotated[list[Path], typer.Argument(help="Images, or folders of images.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder to write.")],
    on_broken: Annotated[
        str, typer.Option(help="error: stop at files that do not decode; skip: leave them out.")
    ] = "error",
    batch_size: Annotated[int, typer.Option(min=1)] = 64,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1 ...")] = "auto",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the folder.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    from .. import models
    from ..search.gallery import Gallery, images_below

    if output.exists() and not overwrite and (output.is_file() or any(output.iterdir())):
        raise ValueError(f"{output} exists already; choose another folder or add --overwrite")
    file = model_file(model)
    paths, labels = images_below(images)
    network = models.load(file)
    codes, kept, broken = encode_files(
        network,
        paths,
        choose_device(device),
        console(as_json),
        batch_size=batch_size,
        on_broken=on_broken,
    )
    info = {
        "model": str(file.resolve()),
        "model_sha256": hashlib.sha256(file.read_bytes()).hexdigest(),
        "network": network.config(),
        "bit_groups": {n: [s.start, s.stop] for n, s in network.bit_groups.items()},
        "broken": broken,
    }
    gallery = Gallery(
        codes,
        network.code_length,
        [str(paths[i].resolve()) for i in kept],
        [labels[i] for i in kept],
        info,
    )
    gallery.save(output, overwrite=overwrite)
    if as_json:
        print_json(
            {
                "gallery": str(output),
                "count": len(gallery),
                "bits": gallery.bits,
                "broken": broken,
            }
        )
        return
    out = console(False)
    out.print(f"{output}: {len(gallery):,} images, codes of {gallery.bits} bits")
    if broken:
        out.print(f"left out {len(broken)} that did not decode, listed in gallery.json")


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
    from ..data.decode import BrokenImageError, decode
    from ..data.transforms import from_config

    if on_broken not in ("error", "skip"):
        raise ValueError(f'--on-broken must be "error" or "skip", got {on_broken!r}')
    network.to(device).eval()
    if network.preprocess is None:
        raise ValueError("the model does not say how its images were prepared; train it again")
    transform = from_config(network.preprocess)
    codes: list[np.ndarray] = []
    kept: list[int] = []
    broken: list[str] = []
    starts = range(0, len(paths), batch_size)
    for start in track(starts, "encoding", console=out, disable=not out.is_terminal):
        batch = []
        for position in range(start, min(start + batch_size, len(paths))):
            try:
                batch.append(decode(paths[position]))
                kept.append(position)
            except BrokenImageError as error:
                broken += [f"{file.path} ({file.cause})" for file in error.broken]
        if batch:
            codes.append(network.encode(transform(batch).to(device)).cpu().numpy())
    if broken and on_broken == "error":
        raise ValueError(
            f"{len(broken)} of {len(paths)} images do not decode: {'; '.join(broken)}. "
            "Add --on-broken skip to leave them out"
        )
    if not kept:
        raise ValueError("no image could be read")
    return np.concatenate(codes), kept, broken
