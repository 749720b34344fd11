"""The tables of the supplement of DSH (CVPR 2016); its figures are in `dsh_figures`.

NUS-WIDE has no reader here: its rows are the paper's numbers alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

from .study import (
    MAP,
    RADIUS_2,
    Budget,
    Ensemble,
    Features,
    Figure,
    Missing,
    Row,
    Shallow,
    Study,
    Train,
    Work,
)

SOURCE = "DSH (CVPR 2016), supplement"
PROTOCOL = (
    "CIFAR-10 with its 10,000 test images as queries and its 50,000 training images as database, "
    "which the network encodes; the last model is kept."
)
SMALL = (
    "The same data, network and loss, trained for 45 passes of AdamW instead of 280 of SGD: hours "
    "on a CPU. Without --root, generated birds stand in for CIFAR-10."
)
NUS_WIDE = Missing("needs NUS-WIDE, for which there is no reader")
CIFAR, NUS = "CIFAR-10", "NUS-WIDE"
# The recipes of the presets cifar10-dsh-*, by budget.
RECIPE = {"paper": "paper", "small": "quick"}

# Table 1, precision within Hamming radius 2 at 12 bits: name -> (label, CIFAR-10, NUS-WIDE).
TABLE1 = {
    "alpha-0": ("regulariser, alpha = 0", 0.5604, 0.5572),
    "alpha-0.001": ("regulariser, alpha = 0.001", 0.6195, 0.5716),
    "alpha-0.01": ("regulariser, alpha = 0.01", 0.5671, 0.5853),
    "alpha-0.1": ("regulariser, alpha = 0.1", 0.4418, 0.4275),
    "sigmoid-6": ("sigmoid, m = 6", 0.2903, 0.3216),
    "sigmoid-3": ("sigmoid, m = 3", 0.4224, 0.4034),
    "sigmoid-2": ("sigmoid, m = 2", 0.3441, 0.5418),
    "sigmoid-1": ("sigmoid, m = 1", 0.1783, 0.5243),
}
# Table 2, precision within Hamming radius 2: (training, bits) -> (CIFAR-10, NUS-WIDE).
TABLE2 = {
    ("scratch", 12): (0.5671, 0.5853),
    ("scratch", 24): (0.6774, 0.5157),
    ("scratch", 36): (0.6321, 0.3902),
    ("scratch", 48): (0.5690, 0.3572),
    ("finetuned", 24): (0.6731, 0.5353),
    ("finetuned", 36): (0.6377, 0.4409),
    ("finetuned", 48): (0.5791, 0.3805),
}
TRAINING = {"scratch": "from scratch", "finetuned": "fine-tuned"}
# Table 3: models -> mAP and precision within radius 2, each on CIFAR-10 and NUS-WIDE.
TABLE3 = {
    (1,): ((0.6157, 0.5483), (0.5671, 0.5853)),
    (2,): ((0.6126, 0.5585), (0.6202, 0.5953)),
    (3,): ((0.6358, 0.5588), (0.6397, 0.5924)),
    (4,): ((0.6289, 0.5353), (0.6237, 0.5756)),
    (1, 2): ((0.6685, 0.5751), (0.6814, 0.5720)),
    (1, 3): ((0.6826, 0.5777), (0.6978, 0.5722)),
    (1, 4): ((0.6755, 0.5628), (0.6886, 0.5560)),
    (2, 3): ((0.6806, 0.5794), (0.6919, 0.5776)),
    (2, 4): ((0.6740, 0.5690), (0.6857, 0.5716)),
    (3, 4): ((0.6850, 0.5722), (0.6979, 0.5752)),
    (1, 2, 3): ((0.6996, 0.5870), (0.6181, 0.5035)),
    (1, 2, 4): ((0.6937, 0.5785), (0.6154, 0.4913)),
    (1, 3, 4): ((0.7022, 0.5811), (0.6292, 0.4931)),
    (2, 3, 4): ((0.7013, 0.5832), (0.6197, 0.5073)),
    (1, 2, 3, 4): ((0.7106, 0.5882), (0.5486, 0.4525)),
}
MODELS = 4
# Table 4, mAP at 48 bits on CIFAR-10: features -> values of these methods.
TABLE4_METHODS = {"lsh": "LSH", "cca-itq": "CCA-ITQ", "ksh": "KSH"}
TABLE4 = {
    "hand": ("hand-crafted", (0.1492, 0.2176, 0.4167)),
    "cls": ("CNN-cls", (0.1783, 0.5443, 0.5949)),
    "ours": ("CNN-ours", (0.3154, 0.6576, 0.6498)),
}
TABLE4_DSH = 0.6755


def scratch(budget: Budget, bits: int) -> Train:
    """DSH trained from scratch."""
    return Train(f"cifar10-dsh-{RECIPE[budget]}-{bits}")


def model(budget: Budget, number: int) -> Train:
    """The 12-bit models M1 to M4, which differ in their seeds."""
    same = scratch(budget, 12)
    return Train(same.preset, member=number - 1, members=MODELS)


def finetuned(budget: Budget, bits: int) -> Train:
    """A longer code from the 12-bit network."""
    preset = "cifar10-dsh-finetune" if budget == "paper" else "cifar10-dsh-quick-finetune"
    return Train(f"{preset}-{bits}", start=scratch(budget, 12))


def regularised(budget: Budget, name: str) -> Train:
    """A row of Table 1."""
    kind, _, value = name.partition("-")
    if kind == "alpha":
        same = scratch(budget, 12)
        if value == "0.01":
            return same
        return Train(same.preset, name, (f"method.options.alpha={value}",))
    recipe = "" if budget == "paper" else "-quick"
    return Train(f"cifar10-dsh{recipe}-sigmoid-m{value}-12")


def ensemble(budget: Budget, numbers: tuple[int, ...]) -> Work:
    """Models side by side; a single one is itself."""
    members = tuple(model(budget, number) for number in numbers)
    if len(members) == 1:
        return members[0]
    return Ensemble(f"cifar10-dsh-{RECIPE[budget]}-{models_text(numbers, '-')}", members)


def models_text(numbers: tuple[int, ...], between: str) -> str:
    return between.join(f"M{number}" for number in numbers)


def row(
    name: str,
    labels: tuple[str, ...],
    make: Callable[[Budget], Work],
    published: dict[str, float] | None = None,
) -> Row:
    """A row whose work is made for each budget."""
    return Row(name, labels, make("paper"), make("small"), published or {})


def _pair(
    name: str,
    labels: tuple[str, ...],
    make: Callable[[Budget], Work],
    values: tuple[dict[str, float], dict[str, float]],
) -> Iterator[Row]:
    """The rows of CIFAR-10 and NUS-WIDE."""
    yield row(f"cifar10-{name}", (CIFAR, *labels), make, values[0])
    yield Row(f"nuswide-{name}", (NUS, *labels), NUS_WIDE, NUS_WIDE, published=values[1])


def table1() -> Iterator[Row]:
    for name, (label, cifar, nus) in TABLE1.items():
        make = partial(regularised, name=name)
        yield from _pair(name, (label,), make, ({RADIUS_2: cifar}, {RADIUS_2: nus}))


def by_training(budget: Budget, training: str, bits: int) -> Train:
    """A row of Table 2."""
    return (scratch if training == "scratch" else finetuned)(budget, bits)


def table2() -> Iterator[Row]:
    for (training, bits), (cifar, nus) in TABLE2.items():
        yield from _pair(
            f"{training}-{bits}",
            (TRAINING[training], str(bits)),
            partial(by_training, training=training, bits=bits),
            ({RADIUS_2: cifar}, {RADIUS_2: nus}),
        )


def _table3() -> Iterator[Row]:
    for numbers, (maps, precisions) in TABLE3.items():
        values = [
            {MAP: score, RADIUS_2: precision}
            for score, precision in zip(maps, precisions, strict=True)
        ]
        yield from _pair(
            models_text(numbers, "-"),
            (models_text(numbers, " + "),),
            partial(ensemble, numbers=numbers),
            (values[0], values[1]),
        )


def hashed(budget: Budget, features: str, method: str, bits: int = 48) -> Shallow:
    """A shallow method on one of the kinds of features of Table 4."""
    recipe, ours = RECIPE[budget], scratch(budget, 12)
    chosen = {
        "hand": Features("hog-cifar10", "hog", scratch("paper", 12)),
        "cls": Features(f"cnn-cls-{recipe}", "network", _classifier(budget)),
        "ours": Features(f"cnn-ours-{recipe}", "network", ours),
    }
    return Shallow(method, bits, chosen[features])


def _classifier(budget: Budget) -> Train:
    return Train("cifar10-classify" if budget == "small" else "cifar10-classify-paper")


def _table4() -> Iterator[Row]:
    for features, (label, values) in TABLE4.items():
        for (method, name), value in zip(TABLE4_METHODS.items(), values, strict=True):
            make = partial(hashed, features=features, method=method)
            yield row(f"{features}-{method}", (label, name), make, {MAP: value})
    yield row("ours-dsh", ("CNN-ours", "DSH"), partial(scratch, bits=48), {MAP: TABLE4_DSH})


def study(
    place: str, title: str, columns: tuple[str, ...], rows: Iterator[Row], **others: object
) -> Study:
    options: dict[str, object] = {
        "protocol": PROTOCOL,
        "small": SMALL,
        "comparable": True,
        **others,
    }
    name = f"dsh-{place.lower().replace(' to ', '-').replace(' ', '')}"
    return Study(
        name,
        title,
        f"{SOURCE}, {place}",
        columns=columns,
        rows=tuple(rows),
        **options,  # type: ignore[arg-type]
    )


def studies() -> Iterator[Study]:
    """The tables of the supplement."""
    yield study(
        "Table 1",
        "The regulariser, and sigmoid outputs in its place, at 12 bits",
        ("data", "model"),
        table1(),
        metrics=(RADIUS_2,),
        figures=(Figure("dots", RADIUS_2, panel="data"),),
    )
    yield study(
        "Table 2",
        "Training from scratch and fine-tuning of the 12-bit network",
        ("data", "training", "bits"),
        table2(),
        metrics=(RADIUS_2,),
        figures=(Figure("lines", RADIUS_2, x="bits", line="training", panel="data"),),
    )
    yield study(
        "Table 3",
        "Ensembles of four 12-bit networks with different initial weights",
        ("data", "models"),
        _table3(),
        metrics=(MAP, RADIUS_2),
        figures=(Figure("dots", MAP, panel="data"), Figure("dots", RADIUS_2, panel="data")),
    )
    yield study(
        "Table 4",
        "Shallow methods on three kinds of features, at 48 bits on CIFAR-10",
        ("features", "method"),
        _table4(),
        figures=(Figure("dots", MAP),),
        notes=(
            "The paper's hand-crafted features are GIST with 512 values; here HOG-512 stands in "
            "for them. CNN-cls: the 500 values before the last layer of the same network as a "
            "classifier; CNN-ours: those of the 12-bit network; both of unit length.",
        ),
    )
