"""A self-contained HTML page: it has no scripts and loads nothing from disk or network."""

import base64
import hashlib
import io
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup
from PIL import Image
from torch import Tensor

from ..files import atomic_write
from ..text import printable
from ..training import EncodedRun
from ..viz import Picture, overlay
from ..viz.figure import pixels, write_figure
from .examples import Examples
from .groups import Group
from .pictures import curve_picture, outputs_picture, parts_picture

TEMPLATE_FOLDER = Path(__file__).resolve().parent
THUMBNAIL_SIDE = 112
# Characters of a name, of a name in a tooltip or the heading, and of a cell.
LONGEST_NAME, LONGEST_TOOLTIP, LONGEST_CELL = 80, 500, 1000


@dataclass
class Page:
    """Content of a page; empty sections are left out.

    Attributes:
        title: heading of the page.
        sentences: introductory paragraphs.
        tables: caption -> (column names, rows).
        figures: (caption, figure) pairs; a figure may be the path of an SVG file.
        examples: queries with their attention maps and hits.
        facts: name -> value, such as command and versions.
        groups: near-duplicates.
    """

    title: str
    sentences: Sequence[str] = ()
    tables: Mapping[str, tuple[Sequence[str], Sequence[Sequence[Any]]]] = field(
        default_factory=dict
    )
    figures: Sequence[tuple[str, Picture | Path]] = ()
    examples: Examples | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)
    groups: Sequence[Group] = ()

    def html(self) -> str:
        """The HTML text; all inserted text is printable and escaped, and long names are short."""
        environment = Environment(
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            finalize=lambda value: value if isinstance(value, Markup) else printable(value),
        )
        environment.filters |= {
            "cell": _format_cell,
            "numeric": _is_number,
            "name": lambda value: printable(value, LONGEST_NAME),
            "tooltip": lambda value: printable(value, LONGEST_TOOLTIP),
        }
        style = (TEMPLATE_FOLDER / "page.css").read_text("utf-8")
        digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
        template = environment.from_string((TEMPLATE_FOLDER / "page.html").read_text("utf-8"))
        return template.render(
            page=self,
            style=style,
            # A second line of defence behind escaping: no scripts, no external resources.
            policy=f"default-src 'none'; img-src data:; style-src 'sha256-{digest}'; "
            "base-uri 'none'; form-action 'none'",
            figures=[
                (caption, _svg_uri(figure), _is_wide(figure)) for caption, figure in self.figures
            ],
            parts=[] if self.examples is None else self.examples.parts,
            examples=[] if self.examples is None else _template_examples(self.examples),
            groups=_template_groups(self.groups),
        )


def write(page: Page, path: str | os.PathLike[str]) -> Path:
    """Write the page atomically."""
    with atomic_write(path, "w") as file:
        file.write(page.html())
    return Path(path)


def run_page(
    run: EncodedRun,
    evaluation: Mapping[str, Any],
    examples: Examples,
    *,
    title: str,
    sentences: Sequence[str] = (),
    tables: Mapping[str, Any] | None = None,
    facts: Mapping[str, Any] | None = None,
) -> Page:
    """The page of a run.

    Args:
        run: the run with its codes.
        evaluation: `evaluate_encoded(run)["evaluation"]`.
        examples: queries with their hits.
        title: heading of the page.
        sentences: paragraphs after the sentence about the data.
        tables: tables before the table of metrics, see `Page`.
        facts: see `Page`.
    """
    parts = parts_picture(evaluation)
    figures = [("Precision over recall, one point per Hamming radius", curve_picture(evaluation))]
    if parts is not None:
        figures.append(("mAP by parts of the code", parts))
    figures.append(("Outputs of the network before the sign", outputs_picture(run)))
    return Page(
        title,
        [run.data.protocol, *sentences],
        {**(tables or {}), **figure_tables(evaluation)},
        figures,
        examples,
        facts or {},
    )


def figure_tables(evaluation: Mapping[str, Any]) -> dict[str, tuple[list[str], list[list[Any]]]]:
    """The table of metrics: one row per metric, one column per way of computing database codes."""
    ways = list(evaluation)
    names = [n for n, v in evaluation[ways[0]].items() if isinstance(v, (int, float))]
    rows = [[name, *(evaluation[way].get(name, "") for way in ways)] for name in names]
    return {"Metrics": (["metric", *ways], rows)}


def data_uri(image: Tensor, side: int = THUMBNAIL_SIDE) -> str:
    """A data: URI with an image uint8 (3, H, W) as a JPEG of at most side x side pixels."""
    picture = Image.fromarray(pixels(image))
    picture.thumbnail((side, side))
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=88)
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def _svg_uri(figure: Picture | Path) -> str:
    buffer = io.BytesIO()
    if isinstance(figure, Path):
        buffer.write(figure.read_bytes())
    else:
        write_figure(figure, buffer, "svg")
    return f"data:image/svg+xml;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def _is_wide(figure: Picture | Path) -> bool:
    if isinstance(figure, Path):
        return True
    width, height = figure.get_size_inches()
    return bool(width > 1.8 * height)


def _template_examples(examples: Examples) -> list[dict[str, Any]]:
    shown = []
    for row, hits in enumerate(examples.hits):
        seen, maps = examples.look.seen[row], examples.look.maps
        shown.append(
            {
                "name": examples.names[row],
                "label": examples.labels[row],
                "image": data_uri(examples.images[row]),
                "maps": [] if maps is None else [data_uri(overlay(seen, m)) for m in maps[row]],
                "hits": [
                    {
                        "image": data_uri(hit.image),
                        "name": hit.name,
                        "label": hit.label,
                        "distance": hit.distance,
                        "parts": list(zip(examples.parts, hit.parts, strict=True)),
                        "kind": {None: "unknown", True: "right", False: "wrong"}[hit.right],
                    }
                    for hit in hits
                ],
            }
        )
    return shown


def _template_groups(groups: Sequence[Group]) -> list[dict[str, Any]]:
    return [
        {
            "size": group.size,
            "more": group.size - len(group.members),
            "members": [
                {
                    "name": member.name,
                    "label": member.label,
                    "distance": member.distance,
                    "image": None if member.image is None else data_uri(member.image),
                }
                for member in group.members
            ],
        }
        for group in groups
    ]


def _format_cell(value: Any) -> str:
    return f"{value:.4f}" if isinstance(value, float) else printable(value, LONGEST_CELL)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float))
