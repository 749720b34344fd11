"""The figures of the supplement of DSH (CVPR 2016), on CIFAR-10."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from .dsh import (
    CIFAR,
    TABLE4_METHODS,
    TRAINING,
    by_training,
    ensemble,
    finetuned,
    hashed,
    models_text,
    row,
    scratch,
    study,
    table1,
    table2,
)
from .study import MAP, RADIUS_2, Figure, Row, Study

# Figure 5: the ensembles that are compared with fine-tuned codes of the same length, on CIFAR-10.
FIGURE5 = {24: (3, 4), 36: (1, 3, 4), 48: (1, 2, 3, 4)}


def _figure5() -> Iterator[Row]:
    for bits, numbers in FIGURE5.items():
        yield row(f"{bits}-finetuned", (str(bits), "fine-tuned"), partial(finetuned, bits=bits))
        label = f"ensemble {models_text(numbers, ' + ')}"
        yield row(f"{bits}-ensemble", (str(bits), label), partial(ensemble, numbers=numbers))


def _figure6() -> Iterator[Row]:
    for bits in (12, 24, 36, 48):
        yield row(f"{bits}-dsh", (str(bits), "DSH"), partial(scratch, bits=bits))
        for method, name in TABLE4_METHODS.items():
            make = partial(hashed, features="hand", method=method, bits=bits)
            yield row(f"{bits}-{method}", (str(bits), f"{name} on HOG-512"), make)


def _cifar(rows: Iterator[Row]) -> Iterator[Row]:
    """The rows of CIFAR-10 without the paper's numbers, for figures of the same models."""
    for one in rows:
        if one.labels[0] == CIFAR:
            yield Row(one.name.removeprefix("cifar10-"), one.labels[1:], one.work, one.small)


def _converging() -> Iterator[Row]:
    for training, label in TRAINING.items():
        yield row(f"{training}-48", (label,), partial(by_training, training=training, bits=48))


def _cases() -> Iterator[Row]:
    yield row("cifar10-48", (CIFAR,), partial(scratch, bits=48))


def studies() -> Iterator[Study]:
    """The figures of the supplement."""
    same = "The paper draws this figure, prints no numbers, and draws it for NUS-WIDE too."
    nus = "The paper draws this figure for NUS-WIDE and prints no numbers; here it is CIFAR-10."
    yield study(
        "Figure 1",
        "How the network's outputs are distributed",
        ("model",),
        _cifar(table1()),
        metrics=(RADIUS_2,),
        figures=(Figure("outputs"),),
        notes=(nus,),
    )
    yield study(
        "Figure 2",
        "Precision over recall with the regulariser and with sigmoid outputs, at 12 bits",
        ("model",),
        _cifar(table1()),
        metrics=(RADIUS_2,),
        figures=(Figure("curves", line="model"),),
        notes=(same,),
    )
    yield study(
        "Figure 3",
        "Precision over recall of fine-tuned networks and of those from scratch",
        ("training", "bits"),
        _cifar(table2()),
        metrics=(MAP, RADIUS_2),
        figures=(Figure("curves", line="training", panel="bits"),),
        notes=(same,),
    )
    yield study(
        "Figure 4",
        "Convergence of the 48-bit networks",
        ("training",),
        _converging(),
        figures=(Figure("loss", line="training"),),
        notes=(nus, "Runs record the loss on the training images, not that on the test images."),
    )
    yield study(
        "Figure 5",
        "Precision over recall of fine-tuned codes and of ensembles",
        ("bits", "codes"),
        _figure5(),
        metrics=(MAP, RADIUS_2),
        figures=(Figure("curves", line="codes", panel="bits"),),
        notes=(same,),
    )
    yield study(
        "Figure 6",
        "DSH beside shallow methods",
        ("bits", "method"),
        _figure6(),
        metrics=(MAP, RADIUS_2),
        figures=(
            Figure("curves", line="method", panel="bits"),
            Figure("lines", RADIUS_2, x="bits", line="method"),
        ),
        notes=(nus,),
    )
    yield study(
        "Figures 7 to 18",
        "Failed and successful retrieval cases at 48 bits",
        ("data",),
        _cases(),
        figures=(Figure("cases"),),
        notes=(
            "Of each kind three queries of different classes: failed ones with the fewest, "
            "successful ones with the most relevant images among their first 10.",
        ),
    )
