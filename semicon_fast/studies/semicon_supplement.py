"""The figures of SEMICON's supplement (ECCV 2022)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

from .semicon import ABLATED, BITS, DATA, PROTOCOL, SMALL, SMALL_DATA, semicon, vanilla
from .study import Figure, Row, Study, Train

SUPPLEMENT = "SEMICON (ECCV 2022), supplement"
ALPHAS = (0.1, 0.2, 0.3, 0.4, 0.5)
MAPS = (1, 2, 3, 4)
# A label, and what makes the work of a data set, None for the small setting, and a code length.
Made = tuple[str, Callable[[str | None, int], Train]]
UNPRINTED = "The paper draws this figure and prints no numbers."


def _rows(bits: tuple[int, ...], works: dict[str, Made]) -> Iterator[Row]:
    """Rows for the data sets of Table 2.

    works: name -> (label, what makes the work).
    """
    for data in ABLATED:
        for length in bits:
            for name, (label, make) in works.items():
                yield Row(
                    f"{data}-{length}-{name}",
                    (DATA[data], str(length), label),
                    make(data, length),
                    make(None, length) if data == SMALL_DATA else None,
                    side="learned",
                )


def _figure(number: int, title: str, rows: Iterator[Row], figure: Figure, column: str) -> Study:
    return Study(
        name=f"semicon-supplement-figure{number}",
        title=title,
        source=f"{SUPPLEMENT}, Figure {number}",
        protocol=PROTOCOL,
        columns=("data", "bits", column),
        rows=tuple(rows),
        figures=(figure,),
        small=SMALL,
        notes=(UNPRINTED,),
    )


def _pictures(data: tuple[str, ...]) -> Iterator[Row]:
    for name in data:
        small = semicon(None, 48) if name == SMALL_DATA else None
        yield Row(f"{name}-48", (DATA[name], "48"), semicon(name, 48), small, side="learned")


def studies() -> tuple[Study, ...]:
    """The figures of the supplement."""
    figure1: dict[str, Made] = {
        "baseline": ("baseline (ADSH)", vanilla),
        "erase": ("erasing", partial(semicon, attention="erase", icon="none")),
        "sem": ("SEM", partial(semicon, icon="none")),
    }
    figure3: dict[str, Made] = {
        "none": ("without ICON", partial(semicon, icon="none")),
        "one": ("first step", partial(semicon, icon="one-step")),
        "two": ("both steps", semicon),
    }
    maps: dict[str, Made] = {
        f"m{m}": (str(m), partial(semicon, icon="none", parts=m)) for m in MAPS
    }
    alphas: dict[str, Made] = {f"alpha{a}": (str(a), partial(semicon, alpha=a)) for a in ALPHAS}
    over = Figure("lines", x="bits", line="attention", panel="data")
    figures = (
        _figure(1, "SEM beside erasing and the baseline", _rows(BITS, figure1), over, "attention"),
        Study(
            name="semicon-supplement-figure2",
            title="Attention maps",
            source=f"{SUPPLEMENT}, Figure 2",
            protocol=PROTOCOL,
            columns=("data", "bits"),
            rows=tuple(_pictures(tuple(DATA))),
            figures=(Figure("maps"),),
            small=SMALL,
            notes=("The images are the first queries of different classes.",),
        ),
        _figure(
            3,
            "The two steps of ICON",
            _rows(BITS, figure3),
            Figure("lines", x="bits", line="ICON", panel="data"),
            "ICON",
        ),
        _figure(
            4,
            "What the part-level codes contribute",
            _rows(BITS, {"semicon": ("SEMICON", semicon)}),
            Figure("parts", line="bits", panel="data"),
            "method",
        ),
        _figure(
            5,
            "The number of attention maps m, without ICON",
            _rows((24, 48), maps),
            Figure("lines", x="m", line="bits", panel="data"),
            "m",
        ),
        _figure(
            6,
            "The exponent alpha of SEM",
            _rows(BITS, alphas),
            Figure("lines", x="alpha", line="bits", panel="data"),
            "alpha",
        ),
        Study(
            name="semicon-supplement-figure7",
            title="Channels before and after ICON",
            source=f"{SUPPLEMENT}, Figure 7",
            protocol=PROTOCOL,
            columns=("data", "bits"),
            rows=tuple(_pictures(("cub",))),
            figures=(Figure("channels"),),
            small=SMALL,
            notes=("The channels are those that vary most between the images shown.",),
        ),
    )
    return figures
