"""Studies of this library's own: what the tables of README show."""

from collections.abc import Iterator

from .study import MAP, RADIUS_2, Figure, Row, Side, Study, Train

QUICK = (12, 24, 48)
CLOTHING = (12, 48)
# Three fifths of the preset's passes.
SHORT = ("run.precision=bf16", "schedule.iterations=6")


def _cifar10() -> Iterator[Row]:
    for bits in QUICK:
        work = Train(f"cifar10-dsh-quick-{bits}")
        yield Row(work.preset, (f"`{work.preset}`", str(bits)), work, work)


def _clothing() -> Iterator[Row]:
    for bits in CLOTHING:
        for name, suffix in (
            ("adsh", "-vanilla"),
            ("semicon", ""),
            ("semicon-official", "-official"),
        ):
            work = Train(f"folder-small-{bits}{suffix}", "short", SHORT)
            method, _, variant = name.partition("-")
            row = "-".join(filter(None, ("clothing", method, str(bits), variant)))
            side: Side = "learned"
            yield Row(row, (name, str(bits)), work, work, side=side)


def studies() -> tuple[Study, ...]:
    """The studies behind README's tables."""
    return (
        Study(
            name="readme-cifar10",
            title="DSH from scratch on CIFAR-10, 45 passes",
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
            name="readme-clothing",
            title="SEMICON in both variants beside ADSH, a narrow ResNet from scratch",
            source="README, Measured",
            protocol="Photographs of clothing in a folder with train/ and test/; the best model on "
            "held-out training images is kept.",
            columns=("method", "bits"),
            rows=tuple(_clothing()),
            figures=(Figure("lines", x="bits", line="method"),),
            small="The same.",
            comparable=True,
        ),
    )
