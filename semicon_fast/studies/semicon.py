"""The tables of SEMICON (ECCV 2022)."""

from __future__ import annotations

import json
from collections.abc import Iterator

from .study import Features, Figure, Row, Shallow, Study, Train, Work

PAPER = "SEMICON (ECCV 2022)"
PROTOCOL = (
    "mAP over the whole database; queries are the official test set, the database is the official "
    "training set. The paper keeps the best model on the test set; the presets keep the best on "
    "held-out training images, and --set selection.mode=test does as the paper."
)
SMALL = (
    "A narrow ResNet from scratch at 64 pixels, a few passes over the images of a folder, or over "
    "generated birds without --root: it shows that everything runs, and is not the paper's setting."
)

# Name of the preset and of the data set in the paper.
DATA = {
    "cub": "CUB200-2011",
    "aircraft": "Aircraft",
    "food101": "Food101",
    "nabirds": "NABirds",
    "vegfru": "VegFru",
}
ABLATED = ("cub", "aircraft", "food101")
BITS = (12, 24, 32, 48)
# In the small setting there is one data set, whose rows stand in the place of these.
SMALL_DATA = "cub"

METHODS = ("ITQ", "SDH", "DPSH", "HashNet", "ADSH", "ExchNet", "A2-Net", "SEMICON")
# Table 1, mAP in percent by the methods above at each length.
TABLE1: dict[str, dict[int, tuple[float, ...]]] = {
    "cub": {
        12: (6.80, 10.52, 8.68, 12.03, 20.03, 25.14, 33.83, 37.76),
        24: (9.42, 16.95, 12.51, 17.77, 50.33, 58.98, 61.01, 65.41),
        32: (11.19, 20.43, 12.74, 19.93, 61.68, 67.74, 71.61, 72.61),
        48: (12.45, 22.23, 15.58, 22.13, 65.43, 71.05, 77.33, 79.67),
    },
    "aircraft": {
        12: (4.38, 4.89, 8.74, 14.91, 15.54, 33.27, 42.72, 49.87),
        24: (5.28, 6.36, 10.87, 17.75, 23.09, 45.83, 63.66, 75.08),
        32: (5.82, 6.90, 13.54, 19.42, 30.37, 51.83, 72.51, 80.45),
        48: (6.05, 7.65, 13.94, 20.32, 50.65, 59.05, 81.37, 84.23),
    },
    "food101": {
        12: (6.46, 10.21, 11.82, 24.42, 35.64, 45.63, 46.44, 50.00),
        24: (8.20, 11.44, 13.05, 34.48, 40.93, 55.48, 66.87, 76.57),
        32: (9.70, 13.36, 16.41, 35.90, 42.89, 56.39, 74.27, 80.19),
        48: (10.07, 15.55, 20.06, 39.65, 48.81, 64.19, 82.13, 82.44),
    },
    "nabirds": {
        12: (2.53, 3.10, 2.17, 2.34, 2.53, 5.22, 8.20, 8.12),
        24: (4.22, 6.72, 4.08, 3.29, 8.23, 15.69, 19.15, 19.44),
        32: (5.38, 8.86, 3.61, 4.52, 14.71, 21.94, 24.41, 28.26),
        48: (6.10, 10.38, 3.20, 4.97, 25.34, 34.81, 35.64, 41.15),
    },
    "vegfru": {
        12: (3.05, 5.92, 6.33, 3.70, 8.24, 23.55, 25.52, 30.32),
        24: (5.51, 11.55, 9.05, 6.24, 24.90, 35.93, 44.73, 58.45),
        32: (7.48, 14.55, 10.28, 7.83, 36.53, 48.27, 52.75, 69.92),
        48: (8.74, 16.45, 9.11, 10.29, 55.15, 69.30, 69.77, 79.77),
    },
}

# What Table 2 stacks: (name of the row, its label, attention and icon; None: the plain backbone).
STEPS = (
    ("vanilla", "vanilla backbone", None),
    ("maps", "three maps, without SEM and ICON", ("none", "none")),
    ("sem", "+ SEM", ("sem", "none")),
    ("icon", "+ ICON", ("sem", "two-step")),
)
# Table 2, mAP in percent at 12, 24, 32 and 48 bits. Two values of its last row differ from Table 1.
TABLE2: dict[str, dict[str, tuple[float, ...]]] = {
    "cub": {
        "vanilla": (20.03, 50.33, 61.68, 65.43),
        "maps": (34.93, 58.73, 64.71, 75.66),
        "sem": (36.58, 64.19, 71.58, 79.17),
        "icon": (37.76, 65.41, 72.33, 79.62),
    },
    "aircraft": {
        "vanilla": (15.54, 23.09, 30.37, 50.65),
        "maps": (34.18, 70.14, 76.50, 80.23),
        "sem": (43.36, 73.39, 80.64, 83.99),
        "icon": (49.87, 75.08, 80.45, 84.23),
    },
    "food101": {
        "vanilla": (35.64, 40.93, 42.89, 48.81),
        "maps": (40.59, 72.75, 78.98, 80.15),
        "sem": (44.95, 75.44, 80.07, 82.40),
        "icon": (50.00, 76.57, 80.19, 82.44),
    },
}

# Table 1 has codes of the database by the network for these.
ENCODED = ("ITQ", "SDH", "DPSH", "HashNet")


def fraction(percent: float) -> float:
    """A percentage as a fraction, without the noise of a division."""
    return round(percent / 100, 4)


def semicon(
    data: str | None,
    bits: int,
    *,
    attention: str = "sem",
    icon: str = "two-step",
    parts: int = 3,
    alpha: float = 0.3,
) -> Train:
    """SEMICON, with other modules or options than the preset's; data None: the small setting."""
    words, settings = [], []
    for name, value, default, word in (
        ("attention", attention, "sem", f"{attention}-maps"),
        ("icon", icon, "two-step", f"icon-{icon}"),
        ("parts", parts, 3, f"parts-{parts}"),
        ("alpha", alpha, 0.3, f"alpha-{alpha}"),
    ):
        if value != default:
            words.append(word)
            settings.append(f"model.options.{name}={json.dumps(value)}")
    return Train(f"{data or 'folder-small'}-{bits}", "-".join(words), tuple(settings))


def vanilla(data: str | None, bits: int) -> Train:
    """SEMICON's objective on a plain backbone."""
    return Train(f"{data or 'folder-small'}-{bits}-vanilla")


def _method(method: str, data: str | None, bits: int) -> Work:
    """A method of Table 1; data None: the small setting."""
    name = method.lower().replace("-", "")
    if method == "SEMICON":
        return semicon(data, bits)
    if method in ("ITQ", "SDH"):
        if data is None:
            return Shallow(name, bits, Features("vanilla-small", "network", vanilla(None, 48)))
        return Shallow(name, bits, Features(f"resnet50-{data}", "resnet50", Train(f"{data}-48")))
    if method == "ADSH" and data is None:
        return Train(f"folder-small-{bits}-vanilla", "adsh", ("method.name=adsh",))
    return Train(f"{name}-{data or 'folder-small'}-{bits}")


def _table1() -> Iterator[Row]:
    for data, lengths in TABLE1.items():
        for bits, printed in lengths.items():
            for method, value in zip(METHODS, printed, strict=True):
                yield Row(
                    f"{data}-{bits}-{method.lower().replace('-', '')}",
                    (DATA[data], str(bits), method),
                    _method(method, data, bits),
                    _method(method, None, bits) if data == SMALL_DATA else None,
                    {"mAP": fraction(value)},
                    "encoded" if method in ENCODED else "learned",
                )


def _with(data: str | None, bits: int, modules: tuple[str, str]) -> Train:
    return semicon(data, bits, attention=modules[0], icon=modules[1])


def _step(data: str | None, bits: int, modules: tuple[str, str] | None, official: bool) -> Train:
    if modules is None:
        return vanilla(data, bits)
    same = _with(data, bits, modules)
    if not official:
        return same
    return Train(f"{same.preset}-official", same.label, same.settings)


def _table2(official: bool = False) -> Iterator[Row]:
    for data, steps in TABLE2.items():
        for number, bits in enumerate(BITS):
            for step, label, modules in STEPS:
                yield Row(
                    f"{data}-{bits}-{step}",
                    (DATA[data], str(bits), label),
                    _step(data, bits, modules, official),
                    _step(None, bits, modules, official) if data == SMALL_DATA else None,
                    {"mAP": fraction(steps[step][number])},
                    "learned",
                )


def studies() -> tuple[Study, ...]:
    """The tables of the paper."""
    lines = Figure("lines", x="bits", line="method", panel="data")
    table1 = Study(
        name="semicon-table1",
        title="SEMICON beside seven hashing methods on five fine-grained data sets",
        source=f"{PAPER}, Table 1",
        protocol=PROTOCOL,
        columns=("data", "bits", "method"),
        rows=tuple(_table1()),
        figures=(lines,),
        small=SMALL + " ITQ and SDH hash the features of the vanilla "
        "network, which has been trained on the labels, instead of those of a ResNet-50.",
        notes=(
            "The paper's values of ADSH, ExchNet, A2-Net and SEMICON are about learned database "
            "codes, which have seen the labels; the others about codes of the database images.",
        ),
    )
    steps = Figure("lines", x="bits", line="configuration", panel="data")
    table2 = Study(
        name="semicon-table2",
        title="What the attention maps, SEM and ICON add",
        source=f"{PAPER}, Table 2",
        protocol=PROTOCOL,
        columns=("data", "bits", "configuration"),
        rows=tuple(_table2()),
        figures=(steps,),
        small=SMALL,
        notes=("At 32 and 48 bits on CUB200-2011 the paper's Table 1 has 72.61 and 79.67 %.",),
    )
    official = Study(
        name="semicon-table2-official",
        title="What the attention maps, SEM and ICON add, in the variant of the released code",
        source=f"{PAPER}, Table 2",
        protocol=PROTOCOL,
        columns=table2.columns,
        rows=tuple(_table2(official=True)),
        figures=(steps,),
        small=SMALL,
        notes=table2.notes,
    )
    return table1, table2, official
