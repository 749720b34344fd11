"""Arguments and options that more than one command has."""

from pathlib import Path
from typing import Annotated

import typer

from .arguments import PRECISIONS

PICTURE_FORMATS = "PNG, SVG or PDF, by the suffix"

Model = Annotated[Path, typer.Argument(help="Folder of a finished run, or its model.safetensors.")]
GalleryFolder = Annotated[
    Path, typer.Argument(help="Gallery: a folder written by `semicon-fast encode`.")
]
GalleryModel = Annotated[
    Path | None,
    typer.Option("--model", help="Model to encode with; by default the gallery's own."),
]
Images = Annotated[
    list[Path],
    typer.Argument(help="Images, folders of images, lists of paths (.txt), tar or Parquet files."),
]
VectorFile = Annotated[
    str, typer.Argument(help="File of feature vectors, .npy, .npz, .parquet or .safetensors.")
]
HasherFile = Annotated[Path, typer.Argument(help="File that `semicon-fast fit` wrote.")]
Labels = Annotated[
    str | None,
    typer.Option(
        "--labels", help="Labels of vectors: .npy, .npz, or lines of text (.txt); -1 is none."
    ),
]
OnBroken = Annotated[
    str,
    typer.Option(help="What to do with files that cannot be decoded: error (stop) or skip."),
]
BatchSize = Annotated[int, typer.Option(min=1, help="Images per forward pass.")]
Precision = Annotated[str, typer.Option(help=f"Precision of the network: {', '.join(PRECISIONS)}.")]
Compiled = Annotated[
    bool, typer.Option("--compile", help="Compile the network with torch.compile.")
]
Workers = Annotated[
    int | None,
    typer.Option(min=0, help="Processes that decode images; by default set by the CPU count."),
]
PartSize = Annotated[int, typer.Option(min=1, help="Images to encode between two saves.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace the output if it exists.")]
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
