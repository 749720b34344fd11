"""`semicon-fast explain`: why two images are near: their distance by part, and their maps.

Example: semicon-fast explain runs/cub-48 query.jpg hit.jpg --picture why.png
         semicon-fast explain gallery query.jpg 17
"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .common import console, errors_as_sentences, help_of, model_file, print_json, table

if TYPE_CHECKING:
    from ..search.gallery import Gallery


def register(app: typer.Typer) -> None:
    app.command("explain", help=help_of(__doc__))(explain)


@errors_as_sentences
def explain(
    source: Annotated[
        Path,
        typer.Argument(help="A run's folder, its model.safetensors, or a gallery's folder."),
    ],
    query: Annotated[str, typer.Argument(help="An image, or an id of the gallery.")],
    hit: Annotated[str, typer.Argument(help="An image, or an id of the gallery.")],
    picture: Annotated[
        Path | None,
        typer.Option(help="Draw both images, their maps and the parts (.png, .svg or .pdf)."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    from .. import models, report
    from ..data.decode import decode
    from ..search.gallery import Gallery
    from ..viz import save_figure
    from .search import model_of

    gallery = Gallery.open(source) if (source / "gallery.json").is_file() else None
    file = model_file(source if gallery is None else model_of(gallery, None))
    paths = [_path(given, gallery, source) for given in (query, hit)]
    images = [decode(path) for path in paths]
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
    console(False).print(table(title, ("bits of", "differing", "bits"), rows))
    if picture is not None:
        console(False).print(f"\nmaps and parts: {picture}", highlight=False)


def _path(given: str, gallery: "Gallery | None", source: Path) -> Path:
    """An image's file, named itself or by its id in the gallery. Raises ValueError."""
    path = Path(given)
    if path.is_file():
        return path
    if gallery is None:
        raise ValueError(f"{given} does not exist; ids are those of a gallery, {source} is none")
    if not given.isdecimal() or int(given) >= len(gallery):
        raise ValueError(
            f"{given} is no file and no id of {source}, which has 0 to {len(gallery) - 1}"
        )
    return Path(gallery.images[int(given)])
