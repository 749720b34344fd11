"""`Picture`, a figure with its data table; saving both; the common style of all figures."""

import csv
import os
import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import IO, Any

import matplotlib as mpl
import numpy as np
import torch
from matplotlib import font_manager
from matplotlib.figure import Figure
from matplotlib.text import Text
from torch import Tensor

from ..files import atomic_write
from ..text import printable
from .formats import FORMATS, format_of

# Okabe and Ito's palette, which is safe for colour-blind readers. Lines also differ in style and
# marker, so that they can be told apart in greyscale.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
STYLES = ("solid", "dashed", "dotted", "dashdot")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
# Settings for saving: text stays text, and files are reproducible (no dates or random ids).
_SAVE_SETTINGS: Any = {"svg.fonttype": "none", "svg.hashsalt": "semicon_fast", "pdf.fonttype": 42}
_NO_DATES: Any = {"png": {}, "svg": {"Date": None}, "pdf": {"CreationDate": None}}
# Fonts that draw what Matplotlib's own font lacks, where they are installed. Colour fonts are not
# among them: Matplotlib cannot draw them.
_FALLBACK_FONTS = (
    *("Noto Sans", "Noto Sans CJK SC", "Noto Sans CJK JP", "Noto Sans SC", "Noto Sans JP"),
    *("Noto Sans KR", "Source Han Sans SC", "WenQuanYi Micro Hei", "WenQuanYi Zen Hei"),
    *("Droid Sans Fallback", "Microsoft YaHei", "Yu Gothic", "MS Gothic", "Malgun Gothic"),
    *("PingFang SC", "Hiragino Sans", "Apple SD Gothic Neo", "Arial Unicode MS"),
    *("Noto Sans Arabic", "Noto Sans Hebrew", "Noto Sans Devanagari", "Noto Sans Bengali"),
    *("Noto Sans Tamil", "Noto Sans Thai", "Noto Sans Georgian", "Noto Sans Armenian"),
    *("Noto Sans Symbols", "Noto Sans Symbols 2", "Noto Emoji", "Symbola", "Segoe UI Symbol"),
    *("Segoe UI", "Tahoma", "Nirmala UI", "Unifont"),
)
_MISSING_GLYPH = re.compile(r"Glyph (\d+) .* missing from ")


@dataclass
class Table:
    """A table of plain values with named columns."""

    columns: Sequence[str]
    rows: list[Sequence[Any]] = field(default_factory=list)

    def write(self, path: str | os.PathLike[str]) -> Path:
        """Write the table as CSV, atomically; floats have 6 significant digits, text is exact."""
        with atomic_write(path, "w") as file:
            writer = csv.writer(file)
            writer.writerow(self.columns)
            writer.writerows([_formatted(value) for value in row] for row in self.rows)
        return Path(path)


def _formatted(value: Any) -> Any:
    return f"{value:.6g}" if isinstance(value, float) else value


class Picture(Figure):
    """A Matplotlib figure with the table of the values it shows; width and height in inches."""

    def __init__(self, width: float, height: float, table: Table) -> None:
        super().__init__(figsize=(width, height))
        self.table = table


def write_figure(figure: Figure, file: IO[bytes], kind: str) -> None:
    """Write the figure to an open file in the format `kind`, one of `FORMATS`.

    Characters that Matplotlib's font lacks are drawn with other installed fonts. Those that no font
    has are boxes in PNG and PDF, and one warning names them; in SVG the viewer's fonts draw them.
    """
    for text in figure.findobj(Text):
        own = text.get_fontfamily()
        text.set_fontfamily([*own, *(name for name in _fallback_fonts() if name not in own)])
    with mpl.rc_context(_SAVE_SETTINGS), _one_warning_of_glyphs(kind):
        figure.savefig(file, format=kind, dpi=150, bbox_inches="tight", metadata=_NO_DATES[kind])


@lru_cache(maxsize=1)
def _fallback_fonts() -> list[str]:
    """Those of `_FALLBACK_FONTS` that are installed."""
    installed = {font.name for font in font_manager.fontManager.ttflist}
    return [name for name in _FALLBACK_FONTS if name in installed]


@contextmanager
def _one_warning_of_glyphs(kind: str) -> Iterator[None]:
    """Warns once of all the glyphs that are missing in a PNG or PDF, instead of once for each."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield
    missing: dict[str, None] = {}
    for warning in caught:
        if found := _MISSING_GLYPH.match(str(warning.message)):
            missing[chr(int(found[1]))] = None
        else:
            warnings.warn_explicit(
                warning.message, warning.category, warning.filename, warning.lineno
            )
    if missing and kind != "svg":
        shown = printable(" ".join(missing), 40)
        warnings.warn(
            f"no installed font has {len(missing)} of the characters in a figure, which are drawn "
            f"as boxes: {shown}; install a font that has them, such as Noto, or write SVG",
            stacklevel=4,
        )


def save_figure(figure: Figure, path: str | os.PathLike[str]) -> Path:
    """Write PNG, SVG or PDF by the suffix of `path`, atomically. ValueError for other suffixes."""
    target, kind = Path(path), format_of(path)
    with atomic_write(target) as file:
        write_figure(figure, file, kind)
    return target


def save_picture(
    picture: Picture, folder: str | os.PathLike[str], name: str, formats: Sequence[str] = ("png",)
) -> list[Path]:
    """Write the figure in each format and its table as `name`.csv into the folder.

    Returns the paths of the files. Raises ValueError for an unknown format.
    """
    if unknown := [kind for kind in formats if kind not in FORMATS]:
        raise ValueError(f"formats must be among {', '.join(FORMATS)}, got {unknown[0]!r}")
    written = [save_figure(picture, Path(folder) / f"{name}.{kind}") for kind in formats]
    return [*written, picture.table.write(Path(folder) / f"{name}.csv")]


def pixels(image: Tensor) -> np.ndarray:
    """uint8 (3, H, W) -> array (H, W, 3) for Matplotlib. ValueError for other tensors."""
    if image.dtype != torch.uint8 or image.ndim != 3 or image.shape[0] != 3:
        raise ValueError(
            f"images must be uint8 (3, H, W), got {image.dtype} of shape {tuple(image.shape)}"
        )
    return image.permute(1, 2, 0).numpy()


def drawable(name: object, longest: int = 17) -> str:
    """A name as the text of a figure: printable, of at most `longest` characters, not mathtext."""
    # Matplotlib draws an escaped dollar sign as itself, and a backslash before another as well.
    return printable(name, longest).replace("$", r"\$")


def line_style(number: int) -> dict[str, Any]:
    """Colour, line style and marker of the line with this number in a figure."""
    return {
        "color": COLOURS[number % len(COLOURS)],
        "linestyle": STYLES[number % len(STYLES)],
        "marker": MARKERS[number % len(MARKERS)],
        "markersize": 4,
    }
