"""`semicon-fast index`: build the search index of encoded images."""

from pathlib import Path
from typing import Annotated

import typer

from .common import console, errors_as_sentences, help_of, print_json


def register(app: typer.Typer) -> None:
    app.command("index", help=help_of(__doc__))(index)


@errors_as_sentences
def index(
    gallery: Annotated[Path, typer.Argument(help="Folder that `semicon-fast encode` wrote.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    from ..search.gallery import Gallery

    built = Gallery.open(gallery).build_index()
    target = gallery / "index.hamming"
    built.save(target)
    if as_json:
        print_json({"index": str(target), "count": len(built), "bits": built.bits})
    else:
        console(False).print(
            f"{target}: {len(built):,} codes of {built.bits} bits, {target.stat().st_size:,} bytes"
        )
