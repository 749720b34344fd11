"""Studies of this library's own: what the tables of README show."""

from collections.abc import Iterator

from .study import MAP, RADIUS_2, Figure, Row, Side, Study, Train

CIFAR10 = (
    *(f"cifar10-dsh-quick-{bits}" for bits in (12, 24, 48)),
    *(f"cifar10-shc-{bits}" for bits in (12, 48)),
)
PHOTOGRAPHS = ("clothing256", "grocery81")
LENGTHS = (12, 48)
# The same 40,000 image passes for all; 12,000 of SHC's train its classifier.
BRIEF = ("schedule.iterations=10", "schedule.epochs=2", "schedule.samples=2000")
METHODS: dict[str, tuple[str, tuple[str, ...], Side]] = {
    "adsh": ("folder-small-{}-vanilla", (), "learned"),
    "semicon": ("folder-small-{}", (), "learned"),
    "exchnet": ("exchnet-folder-small-{}", (), "learned"),
    "shc": (
        "shc-folder-small-{}",
        ('method.options={"classify":3,"restart":false}',),
        "centers",
    ),
}


def _cifar10() -> Iterator[Row]:
    for preset in CIFAR10:
        work = Train(preset)
        yield Row(preset, (f"`{preset}`", preset.rpartition("-")[2]), work, work)


def _photographs() -> Iterator[Row]:
    for data in PHOTOGRAPHS:
        for bits in LENGTHS:
            for method, (preset, options, side) in METHODS.items():
                settings = ("run.precision=bf16", *BRIEF, *options)
                work = Train(preset.format(bits), data, settings, folder=data)
                name = f"{data}-{method}-{bits}"
                yield Row(name, (data, method, str(bits)), work, work, side=side)


def studies() -> tuple[Study, ...]:
    """The studies behind README's tables."""
    return (
        Study(
            name="readme-cifar10",
            title="DSH and SHC from scratch on CIFAR-10",
            source="README, Measured",
            protocol="CIFAR-10 with its 10,000 test images as queries and its 50,000 training "
            "images as database, which the network encodes; the last model is kept.",
            columns=("preset", "bits"),
            rows=tuple(_cifar10()),
            metrics=(MAP, RADIUS_2),
            figures=(Figure("curves", line="bits"),),
            small="The same.",
            comparable=True,
        ),
        Study(
            name="readme-photographs",
            title="SEMICON, ExchNet, SHC and ADSH on a narrow ResNet from scratch",
            source="README, Measured",
            protocol="Photographs of clothing and of groceries in folders with train/ and test/; "
            "the best model on held-out training images is kept.",
            columns=("data", "method", "bits"),
            rows=tuple(_photographs()),
            figures=(Figure("lines", x="bits", line="method", panel="data"),),
            small="The same.",
            comparable=True,
        ),
    )
