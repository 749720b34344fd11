"""`semicon-fast search`: find the images of a gallery that are nearest to the given ones.

In a gallery of feature vectors, which a hasher encoded, queries are files of such vectors.

Examples:
  semicon-fast search gallery photo.jpg -k 10 --picture hits.png
  semicon-fast search gallery queries.npy -k 10
"""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from ..data import listing
from ..data.passed_over import PassedOver
from ..data.vector_files import Place, place
from ..search.gallery_files import read_about
from ..text import printable
from .arguments import check_device, check_picture, gallery_model, hasher_file
from .common import choose_device, console, print_json, say_passed_over, table
from .options import AsJson, Device, GalleryFolder, GalleryModel, Picture

if TYPE_CHECKING:
    import numpy as np

    from ..models import HashModel
    from ..search.gallery import Gallery

BATCH_SIZE = 64
# Characters of a label in the table; `--json` has all of them.
LONGEST_LABEL = 80


def search(
    gallery: GalleryFolder,
    queries: Annotated[
        list[Path],
        typer.Argument(help="Images to search for, or folders of them; or files of vectors."),
    ],
    k: Annotated[int, typer.Option("-k", min=1, help="Number of hits per query.")] = 10,
    model: GalleryModel = None,
    picture: Picture = None,
    device: Device = "auto",
    as_json: AsJson = False,
) -> None:
    check_device(device)
    check_picture(picture)
    about = read_about(gallery)
    file = gallery_model(about, model)
    of_vectors = hasher_file(file)
    passed = PassedOver()
    if of_vectors:
        if picture is not None:
            raise ValueError("--picture draws images, but the gallery holds feature vectors")
        places = [place(query) for query in queries]
    else:
        paths = [Path(found.path) for found in listing.given(queries, passed)]
    from ..search.gallery import Gallery, open_index

    opened = Gallery.open(gallery)
    index = open_index(gallery, opened)
    if of_vectors:
        names, codes = _hashed(file, places, opened.bits, choose_device(device))
    else:
        from .. import models

        network = models.load(file, opened.bits)
        names = [str(path) for path in paths]
        codes = _encode(network, paths, choose_device(device), console(as_json))
    distances, ids = index.search(codes, min(k, len(opened)))
    found: list[dict[str, Any]] = [
        {"query": name, "hits": _hits(opened, distances[row], ids[row])}
        for row, name in enumerate(names)
    ]
    if picture is not None:
        _draw(picture, found)
    if as_json:
        passed_over = passed.to_dict()
        print_json({"gallery": str(gallery), "queries": found, "passed_over": passed_over})
        return
    for entry in found:
        rows = [
            (rank, hit["distance"], printable(hit["label"], LONGEST_LABEL), hit["image"])
            for rank, hit in enumerate(entry["hits"], 1)
        ]
        title = str(entry["query"])
        console(False).print(table(title, ("rank", "distance", "label", "image"), rows))
    say_passed_over(console(False), passed.counts)


def _encode(
    network: "HashModel", paths: Sequence[Path], device: str, out: Console
) -> "np.ndarray[Any, Any]":
    """Packed codes of the images. Raises ValueError that names every one that does not decode."""
    import numpy as np
    from rich.progress import track

    from ..data.decode import Readable, decode
    from ..encoding import Runner

    runner = Runner(network, device)
    codes: list[np.ndarray[Any, Any]] = []
    broken: list[str] = []
    starts = range(0, len(paths), BATCH_SIZE)
    for start in track(starts, "encoding", console=out, disable=not out.is_terminal):
        images = Readable(partial(decode, path) for path in paths[start : start + BATCH_SIZE])
        codes.append(runner(runner.transform.pixels(images)))
        broken += images.broken
    if broken:
        raise ValueError(f"{len(broken)} of {len(paths)} images do not decode: {'; '.join(broken)}")
    return np.concatenate(codes)


def _hashed(
    file: Path, places: Sequence[Place], bits: int, device: str
) -> "tuple[list[str], np.ndarray[Any, Any]]":
    """Names and packed codes of the vectors in these files."""
    import numpy as np

    from .. import shallow
    from ..data.vectors import open_vectors
    from ..encoding import hashed_blocks
    from ..search import code_bytes

    hasher = shallow.load(file)
    if hasher.bits != bits:
        raise ValueError(f"{file} has {hasher.bits}-bit codes, but the gallery's have {bits}")
    sources = [open_vectors(where) for where in places]
    names = [f"{source.place}#{name}" for source in sources for name in source.names]
    blocks = [block for source in sources for block in hashed_blocks(hasher, source, device)]
    return names, np.concatenate([np.empty((0, code_bytes(bits)), np.uint8), *blocks])


def _hits(
    gallery: "Gallery", distances: "np.ndarray[Any, Any]", ids: "np.ndarray[Any, Any]"
) -> list[dict[str, Any]]:
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
    from ..data.catalog import locate
    from ..data.decode import decode
    from ..viz import retrieval_grid, save_figure

    names = dict.fromkeys(hit["image"] for entry in found for hit in entry["hits"])
    images = {entry.name: entry.image() for entry in locate(list(names))}
    figure = retrieval_grid(
        [decode(Path(entry["query"])) for entry in found],
        [[images[hit["image"]] for hit in entry["hits"]] for entry in found],
        [[hit["distance"] for hit in entry["hits"]] for entry in found],
        query_names=[Path(entry["query"]).name for entry in found],
    )
    save_figure(figure, path)
