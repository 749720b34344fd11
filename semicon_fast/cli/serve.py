"""`semicon-fast serve`: search a gallery in the browser, and over HTTP.

Example:
  semicon-fast serve gallery
"""

import ipaddress
from pathlib import Path
from typing import Annotated, Any

import typer

from ..search.gallery_files import read_about
from .arguments import check_device, gallery_network
from .common import choose_device, console, print_json, say
from .options import AsJson, Device, GalleryFolder, GalleryModel


def serve(
    gallery: GalleryFolder,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="Port to listen on; 0 takes any free one.")
    ] = 8000,
    allow_host: Annotated[
        list[str] | None,
        typer.Option(help="Host name to accept in requests; may be given several times."),
    ] = None,
    model: GalleryModel = None,
    no_model: Annotated[
        bool, typer.Option("--no-model", help="Accept only images of the gallery as queries.")
    ] = False,
    max_megabytes: Annotated[
        int, typer.Option(min=1, max=256, help="Largest file that may be uploaded.")
    ] = 16,
    max_megapixels: Annotated[
        int, typer.Option(min=1, max=89, help="Largest image that may be uploaded.")
    ] = 40,
    workers: Annotated[int, typer.Option(min=1, help="Images to encode at the same time.")] = 1,
    device: Device = "auto",
    as_json: AsJson = False,
) -> None:
    check_device(device)
    about = read_about(gallery)
    file = None if no_model else _model(about, model)
    try:
        from ..serve import Limits, Pictures, Searcher, create_app, listen, run
    except ModuleNotFoundError as error:
        raise ValueError(
            f"serve needs {error.name}, which is not installed: pip install 'semicon_fast[serve]'"
        ) from None
    from .. import models
    from ..search.gallery import Gallery, open_index

    opened = Gallery.open(gallery)
    index = open_index(gallery, opened)
    network = None
    if file is not None:
        network = models.load(file, opened.bits).to(choose_device(device))
    limits = Limits(
        upload_bytes=max_megabytes * 2**20, pixels=max_megapixels * 10**6, workers=workers
    )
    searcher = Searcher(opened, index, network)
    app = create_app(searcher, Pictures(opened, gallery), limits, [host, *(allow_host or [])])
    listening, address = listen(host, port)
    out = console(as_json)
    if not _is_loopback(host):
        warning = f" anyone who can reach {host} can see every image of this gallery; "
        say(out, ("warning:", "yellow"), warning, "there is no password")
    if network is None:
        say(out, "no model: only images of the gallery can be used as queries")
    if as_json:
        print_json({"address": address, "count": len(opened), "bits": opened.bits})
    images = f"{len(opened):,} images, codes of {opened.bits} bits"
    say(out, f"{images}, at {address} (Ctrl-C stops)")
    run(app, listening, limits)


def _model(about: dict[str, Any], given: Path | None) -> Path:
    """File of the model that made the codes. Raises ValueError where it is missing or another."""
    try:
        return gallery_network(about, given)
    except ValueError as error:
        raise ValueError(f"{error}; or add --no-model to search by images of the gallery") from None


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
