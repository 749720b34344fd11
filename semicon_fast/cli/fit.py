"""`semicon-fast fit`: learn how to turn feature vectors into binary codes, without a network.

The features are an array in an .npy, .npz, Parquet or safetensors file; FILE:NAME is one of
several. `encode` makes galleries with what is written, and `recall` measures it.

Examples:
  semicon-fast fit itq features.npy --bits 64 -o hasher
  semicon-fast fit sdh features.npz --bits 48 --set anchors=500 -o hasher
  semicon-fast fit ksh features.npy --labels labels.npy --bits 48 -o hasher
"""

import json
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from ..data.vector_files import place
from ..files import check_file
from ..shallow.registry import NAMES
from .arguments import check_choice, check_texts
from .common import console, print_json, say
from .options import AsJson, Labels, VectorFile


def fit(
    method: Annotated[str, typer.Argument(help=f"How to learn: {', '.join(NAMES)}.")],
    features: VectorFile,
    output: Annotated[Path, typer.Option("--output", "-o", help="File to write to.")],
    bits: Annotated[int, typer.Option("--bits", min=1, max=4096, help="Bits of a code.")],
    labels: Labels = None,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            help="Set an option of the method, as in iterations=20 or seed=1; may be given several "
            "times.",
            metavar="KEY=VALUE",
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    check_choice("METHOD", method, NAMES)
    where = place(features)
    check_texts("--labels", labels)
    options = dict(_option(setting) for setting in settings or ())
    check_file(output)
    from .. import metrics, shallow
    from ..data.vectors import check_count, open_vectors, read_labels

    try:
        hasher = shallow.build(method, bits, **options)
    except (TypeError, ValueError) as error:
        raise ValueError(f"--set: {error}") from None
    vectors = open_vectors(where)
    known = vectors.labels if labels is None else read_labels(labels)
    check_count("labels", known, len(vectors), where)
    rows, numbers, left_out = vectors.array(), None, 0
    if hasher.supervised:
        if known is None:
            raise ValueError(f"{method} learns from labels: give --labels, as {where} has none")
        labelled = [row for row, label in enumerate(known) if label != ""]
        left_out = len(known) - len(labelled)
        numbers = metrics.numbered_labels([known[row] for row in labelled], [])[0]
        rows = rows[labelled] if left_out else rows
    began = time.perf_counter()
    hasher.fit(rows, numbers)
    seconds = time.perf_counter() - began
    hasher.save(output)
    facts: dict[str, Any] = {
        "hasher": str(output),
        "method": method,
        "bits": bits,
        "features": list(rows.shape),
        "parameters": hasher.get_params(),
        "left_out": left_out,
        "seconds": seconds,
    }
    if as_json:
        print_json(facts)
        return
    out = console(False)
    say(out, f"{output}: {method}, codes of {bits} bits from {rows.shape[1]:,} features")
    say(out, f"learned from {len(rows):,} rows in {seconds:.1f} s")
    if left_out:
        say(out, f"note: {left_out:,} rows without a label are left out")


def _option(setting: str) -> tuple[str, Any]:
    name, equals, text = setting.partition("=")
    if not equals or not name.strip():
        raise ValueError(f"--set must be KEY=VALUE, got {setting!r}")
    text = text.strip()
    try:
        value = json.loads(text)
    except json.JSONDecodeError:
        value = {"True": True, "False": False}.get(text, text)
    return name.strip(), value
