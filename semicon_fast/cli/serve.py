"""`semicon-fast serve`: search encoded images in the browser, by dropping one on a page.

Example: semicon-fast serve gallery
"""

import hashlib
import ipaddress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .common import (
    choose_device,
    console,
    errors_as_sentences,
    help_of,
    model_file,
    print_json,
)

if TYPE_CHECKING:
    from ..models import HashModel
    from ..search.gallery import Gallery


def register(app: typer.Typer) -> None:
    app.command("serve", help=help_of(__doc__))(serve)


@errors_as_sentences
def serve(
    gallery: Annotated[Path, typer.Argument(help="Folder that `semicon-fast encode` wrote.")],
    host: Annotated[str, typer.Option(help="Address to listen at.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0: any free one.")] = 8000,
    allow_host: Annotated[
        list[str] | None, typer.Option(help="A name that people reach this server by.")
    ] = None,
    model: Annotated[
        Path | None, typer.Option(help="The model; by default the one that made the gallery.")
    ] = None,
    no_model: Annotated[
        bool, typer.Option("--no-model", help="Search by images of the gallery only.")
    ] = False,
    max_megabytes: Annotated[int, typer.Option(min=1, max=256, help="Of a sent image.")] = 16,
    max_megapixels: Annotated[int, typer.Option(min=1, max=89, help="Of a sent image.")] = 40,
    workers: Annotated[int, typer.Option(min=1, help="Images encoded at a time.")] = 1,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1 ...")] = "auto",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    try:
        from ..serve import Limits, Pictures, Searcher, create_app, listen, run
    except ModuleNotFoundError as error:
        raise ValueError(
            f"serve needs {error.name}, which is not installed: pip install 'semicon_fast[serve]'"
        ) from None
    from ..search.gallery import Gallery, open_index

    opened = Gallery.open(gallery)
    index = open_index(gallery, opened)
    network = None if no_model else _network(opened, model, choose_device(device))
    limits = Limits(
        upload_bytes=max_megabytes * 2**20, pixels=max_megapixels * 10**6, workers=workers
    )
    searcher = Searcher(opened, index, network)
    app = create_app(searcher, Pictures(opened, gallery), limits, [host, *(allow_host or [])])
    listening, address = listen(host, port)
    out = console(as_json)
    if not _is_loopback(host):
        out.print(
            f"[yellow]warning:[/yellow] whoever can reach {host} can see every image of this "
            "gallery; there is no password",
            highlight=False,
        )
    if network is None:
        out.print("without a model: search by images of the gallery only", highlight=False)
    if as_json:
        print_json({"address": address, "count": len(opened), "bits": opened.bits})
    out.print(
        f"{len(opened):,} images, codes of {opened.bits} bits, at {address} (Ctrl-C stops)",
        soft_wrap=True,
    )
    run(app, listening, limits)


def _network(gallery: "Gallery", given: Path | None, device: str) -> "HashModel":
    """The model that made the codes. Raises ValueError where it cannot be had, or is another."""
    from .. import models
    from .search import model_of

    try:
        file = model_file(model_of(gallery, given))
    except ValueError as error:
        raise ValueError(f"{error}; or add --no-model to search by images of the gallery") from None
    recorded = gallery.info.get("model_sha256")
    if recorded and hashlib.sha256(file.read_bytes()).hexdigest() != recorded:
        raise ValueError(
            f"{file} is not the model that made this gallery's codes; encode the images again, "
            "name the right one with --model, or add --no-model"
        )
    return models.load(file, gallery.bits).to(device)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
