"""`semicon-fast explain`: compare two images: their distance by part, and their attention maps.

Examples:
  semicon-fast explain runs/cub-48 query.jpg hit.jpg --picture why.png
  semicon-fast explain gallery query.jpg 17
"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..search.gallery_files import read_about
from .arguments import check_picture, gallery_network
from .common import console, model_file, print_json, say, table
from .options import AsJson, Picture

if TYPE_CHECKING:
    from ..search.gallery import Gallery

IMAGE = "An image file, or the id of an image in the gallery."


def explain(
    source: Annotated[
        Path,
        typer.Argument(help="Folder of a finished run, its model.safetensors, or a gallery."),
    ],
    query: Annotated[str, typer.Argument(help=IMAGE)],
    hit: Annotated[str, typer.Argument(help=IMAGE)],
    picture: Picture = None,
    as_json: AsJson = False,
) -> None:
    check_picture(picture)
    is_gallery = (source / "gallery.json").is_file()
    about = read_about(source) if is_gallery else None
    file = model_file(source) if about is None else gallery_network(about, None)
    for given in (query, hit):
        _check_image(given, about, source)
    from .. import models, report
    from ..data.catalog import locate
    from ..search.gallery import Gallery
    from ..viz import save_figure

    gallery = Gallery.open(source) if is_gallery else None
    paths = [_path(given, gallery) for given in (query, hit)]
    images = [entry.image() for entry in locate([str(path) for path in paths])]
    network = models.load(file, None if gallery is None else gallery.bits)
    found = report.explain(network, images, [str(path) for path in paths])
    if picture is not None:
        named = [path.name for path in paths]
        save_figure(report.explain(network, images, named).picture(), picture)
    if as_json:
        print_json({**found.to_dict(), "picture": None if picture is None else str(picture)})
        return
    rows = [(name, count, bits) for name, (count, bits) in found.parts.items()]
    rows.append(("all", found.distance, found.bits))
    title = f"{found.names[0]} and {found.names[1]}"
    out = console(False)
    out.print(table(title, ("part", "differing bits", "bits"), rows))
    if picture is not None:
        out.print()
        say(out, f"figure with the attention maps: {picture}")


def _check_image(given: str, about: dict[str, Any] | None, source: Path) -> None:
    """`given` must be a file, or an id of the gallery. about: its gallery.json, if it is one."""
    if Path(given).is_file():
        return
    if about is None:
        raise ValueError(f"{given} does not exist; ids are those of a gallery, {source} is none")
    count = int(about.get("count", 0))
    if not given.isdecimal() or int(given) >= count:
        raise ValueError(f"{given} is no file and no id of {source}, which has 0 to {count - 1}")


def _path(given: str, gallery: "Gallery | None") -> Path:
    """The name of an image that `_check_image` accepted: its file, or its place in an archive."""
    path = Path(given)
    return path if gallery is None or path.is_file() else Path(gallery.images[int(given)])
