"""`semicon-fast search`: the encoded images nearest to one image or several.

Example: semicon-fast search gallery photo.jpg -k 10 --picture hits.png
"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer

from .common import (
    choose_device,
    console,
    errors_as_sentences,
    help_of,
    model_file,
    print_json,
    table,
)

if TYPE_CHECKING:
    from ..search.gallery import Gallery


def register(app: typer.Typer) -> None:
    app.command("search", help=help_of(__doc__))(search)


@errors_as_sentences
def search(
    gallery: Annotated[Path, typer.Argument(help="Folder that `semicon-fast encode` wrote.")],
    queries: Annotated[list[Path], typer.Argument(help="Images, or folders of images.")],
    k: Annotated[int, typer.Option("-k", min=1, help="Hits for each query.")] = 10,
    model: Annotated[
        Path | None, typer.Option(help="The model; by default the one that made the gallery.")
    ] = None,
    picture: Annotated[
        Path | None, typer.Option(help="Also draw queries and hits (.png, .svg or .pdf).")
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1 ...")] = "auto",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    from .. import models
    from ..search.gallery import Gallery, images_below, open_index
    from .encode import encode_files

    opened = Gallery.open(gallery)
    index = open_index(gallery, opened)
    network = models.load(model_file(model_of(opened, model)), opened.bits)
    paths, _ = images_below(queries)
    codes, kept, _ = encode_files(network, paths, choose_device(device), console(as_json))
    names = [str(paths[i]) for i in kept]
    distances, ids = index.search(codes, k)
    found: list[dict[str, Any]] = [
        {"query": name, "hits": _hits(opened, distances[row], ids[row])}
        for row, name in enumerate(names)
    ]
    if picture is not None:
        _draw(picture, found)
    if as_json:
        print_json({"gallery": str(gallery), "queries": found})
        return
    for entry in found:
        rows = [
            (rank, hit["distance"], hit["label"], hit["image"])
            for rank, hit in enumerate(entry["hits"], 1)
        ]
        title = str(entry["query"])
        console(False).print(table(title, ("rank", "distance", "label", "image"), rows))


def model_of(gallery: "Gallery", given: Path | None) -> Path:
    """The model that was given, or that made the gallery. Raises ValueError for none."""
    if given is not None:
        return given
    recorded = gallery.info.get("model")
    if not recorded:
        raise ValueError("the gallery does not say what model made it; name one with --model")
    return Path(recorded)


def _hits(gallery: "Gallery", distances: np.ndarray, ids: np.ndarray) -> list[dict[str, Any]]:
    return [
        {
            "id": int(i),
            "distance": int(d),
            "label": gallery.labels[int(i)],
            "image": gallery.images[int(i)],
        }
        for d, i in zip(distances, ids, strict=True)
        if i >= 0
    ]


def _draw(path: Path, found: list[dict[str, Any]]) -> None:
    from ..data.decode import decode
    from ..viz import retrieval_grid, save_figure

    figure = retrieval_grid(
        [decode(Path(entry["query"])) for entry in found],
        [[decode(Path(hit["image"])) for hit in entry["hits"]] for entry in found],
        [[hit["distance"] for hit in entry["hits"]] for entry in found],
        query_names=[Path(entry["query"]).name for entry in found],
    )
    save_figure(figure, path)
