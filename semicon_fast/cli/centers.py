"""`semicon-fast centers`: make, save and show a codebook, one binary code for each class.

The file serves as the option `centers` of the method shc. A similarity file holds a matrix (.npy),
or `similarity` or `features` of the classes (.safetensors).

Examples:
  semicon-fast centers --classes 100 --bits 48 --output centers.safetensors
  semicon-fast centers --classes 100 --bits 48 --kind semantic --similarity s.npy
  semicon-fast centers centers.safetensors
"""

from pathlib import Path
from typing import Annotated, Any

import typer

from ..centers.kinds import KINDS
from ..files import check_file
from .arguments import check_choice
from .common import console, print_json, table
from .options import AsJson

SHOWN_CLASSES, SHOWN_PAIRS = 16, 10


def centers(
    file: Annotated[
        Path | None, typer.Argument(help="Codebook to show, in place of making one.")
    ] = None,
    classes: Annotated[int | None, typer.Option("--classes", help="Number of classes.")] = None,
    bits: Annotated[int | None, typer.Option("--bits", help="Bits of a center.")] = None,
    kind: Annotated[str, typer.Option("--kind", help=f"One of {', '.join(KINDS)}.")] = "hadamard",
    similarity: Annotated[
        Path | None, typer.Option("--similarity", help="Similarities, for semantic centers.")
    ] = None,
    seed: Annotated[int, typer.Option("--seed", help="Seed of the random numbers.")] = 0,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="File (.safetensors) to write to.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    _check(file, classes, bits, kind, similarity, output)
    from .. import centers as codebooks

    if file is not None:
        found = codebooks.load(file)
    else:
        assert classes is not None and bits is not None
        found = _make(classes, bits, kind, similarity, seed)
        if output is not None:
            codebooks.save(found, output)
    facts = _facts(found)
    if as_json:
        print_json(facts)
        return
    out = console(False)
    out.print(table("centers", ("property", "value"), [(k, v) for k, v in facts["about"].items()]))
    out.print()
    out.print(table("nearest centers", ("class", "class", "distance"), facts["nearest"]))
    if len(found) <= SHOWN_CLASSES:
        names = [str(number) for number in range(len(found))]
        rows = [
            [name, *(str(value) for value in row)]
            for name, row in zip(names, facts["distances"], strict=True)
        ]
        out.print()
        out.print(table("distances", ("class", *names), rows))


def _check(
    file: Path | None,
    classes: int | None,
    bits: int | None,
    kind: str,
    similarity: Path | None,
    output: Path | None,
) -> None:
    if file is not None:
        if any(option is not None for option in (classes, bits, similarity, output)):
            raise ValueError("give a file to show, or --classes and --bits to make one, not both")
        if not file.is_file():
            raise ValueError(f"centers file {file} does not exist")
        return
    if classes is None or bits is None:
        raise ValueError("give a file to show, or --classes and --bits to make a codebook")
    check_choice("--kind", kind, KINDS)
    if similarity is not None and kind != "semantic":
        raise ValueError(f"--similarity is for --kind semantic, got {kind}")
    if similarity is not None and not similarity.is_file():
        raise ValueError(f"--similarity {similarity} does not exist")
    if output is not None and output.suffix != ".safetensors":
        raise ValueError(f"--output must end in .safetensors, got {output}")
    if output is not None:
        check_file(output)


def _make(classes: int, bits: int, kind: str, similarity: Path | None, seed: int) -> Any:
    import torch

    from .. import centers as codebooks

    draws = torch.Generator().manual_seed(seed)
    if kind != "semantic":
        return getattr(codebooks, kind)(classes, bits, draws)
    codebooks.check_size(classes, bits)
    wanted = None
    if similarity is not None:
        wanted = codebooks.load_similarity(similarity, classes, bits)
    return codebooks.semantic(classes, bits, draws, similarity=wanted)


def _facts(found: Any) -> dict[str, Any]:
    """What is shown of a codebook, as values that JSON can hold."""
    import torch

    from .. import centers as codebooks

    classes, bits = found.shape
    least, mean = codebooks.quality(found)
    distances = codebooks.distances(found)
    first, second = torch.triu_indices(classes, classes, 1)
    pairs = distances[first, second]
    nearest = [
        (int(first[i]), int(second[i]), int(pairs[i]))
        for i in pairs.argsort(stable=True)[:SHOWN_PAIRS]
    ]
    about = {
        "classes": classes,
        "bits": bits,
        "least distance": least,
        "mean distance": mean,
        "Gilbert-Varshamov distance": codebooks.gilbert_varshamov(classes, bits),
    }
    return {"about": about, "nearest": nearest, "distances": distances.tolist()}
