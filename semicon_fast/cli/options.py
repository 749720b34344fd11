"""Arguments and options that more than one command has."""

from pathlib import Path
from typing import Annotated

import typer

PICTURE_FORMATS = "PNG, SVG or PDF, by the suffix"

Model = Annotated[Path, typer.Argument(help="Folder of a finished run, or its model.safetensors.")]
GalleryFolder = Annotated[
    Path, typer.Argument(help="Gallery: a folder written by `semicon-fast encode`.")
]
GalleryModel = Annotated[
    Path | None,
    typer.Option("--model", help="Model to encode with; by default the gallery's own."),
]
Output = Annotated[Path, typer.Option("--output", "-o", help="Folder to write to.")]
Picture = Annotated[
    Path | None,
    typer.Option("--picture", help=f"Also draw the result to this file ({PICTURE_FORMATS})."),
]
Root = Annotated[
    str | None,
    typer.Option("--root", help="Folder of the data set, if it has moved since training."),
]
Resume = Annotated[
    bool, typer.Option("--resume", help="Continue from where an earlier call was stopped.")
]
Device = Annotated[
    str, typer.Option("--device", help="Device to run on: auto, cpu, cuda or cuda:N.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
