"""A study of two rows on a folder of tiny images, so small that it runs in a second."""

from types import SimpleNamespace

import pytest
import torch
from PIL import Image

from semicon_fast.studies import catalog
from semicon_fast.studies.plan import Setup
from semicon_fast.studies.study import Ensemble, Figure, Row, Study, Train

CLASSES, SIDE = ("blue", "green", "red"), 8
TINY = (
    "model.network=small",
    'model.options={"width": 4}',
    "model.code_length=8",
    "data.image_size=8",
    'data.transform="small"',
    "schedule.iterations=2",
    "schedule.epochs=2",
    "schedule.samples=12",
    "schedule.batch_size=6",
    "run.threads=1",
    'run.device="cpu"',
)


def train(label, *settings, **options):
    return Train("folder-small-12", label, (*TINY, *settings), **options)


LEARNED, ENCODED = train("learned"), train("encoded", 'method.name="dsh"')
FIGURES = (Figure("dots"), Figure("curves", line="method"))
FAILING = train("failing", "method.options.nosuch=1")


def row(name, work, published, side="encoded"):
    return Row(name, ("paper's data", name), work, work, {"mAP": published}, side)


def make_study(*rows, name="tiny", figures=FIGURES):
    rows = rows or (row("a-8", LEARNED, 0.5, "learned"), row("b-8", ENCODED, 0.25))
    return Study(
        name, "Two rows", "A paper, Table 9", "a protocol", ("data", "method"), tuple(rows),
        figures=tuple(figures), small="Tiny.", comparable=True,
    )  # fmt: skip


@pytest.fixture(scope="session")
def photos(tmp_path_factory):
    """train/ and test/ with three classes of noise, each brighter in its channel."""
    folder = tmp_path_factory.mktemp("tiny") / "photos"
    generator = torch.Generator().manual_seed(0)
    for part, count in (("train", 6), ("test", 2)):
        for number, name in enumerate(CLASSES):
            (folder / part / name).mkdir(parents=True)
            for i in range(count):
                shape = (SIDE, SIDE, 3)
                pixels = torch.randint(0, 120, shape, generator=generator, dtype=torch.uint8)
                pixels[..., number] += 120
                Image.fromarray(pixels.numpy()).save(folder / part / name / f"{i}.png")
    return folder


@pytest.fixture
def tiny(monkeypatch, photos):
    """Studies that are known by their names while the test runs, and how they are set up."""

    def register(*rows, **options):
        study = make_study(*rows, **options)
        monkeypatch.setitem(catalog.STUDIES, study.name, study)
        return study

    def setup(output, **options):
        return Setup(output, **{"roots": {"": str(photos)}, **options})

    return SimpleNamespace(
        register=register,
        setup=setup,
        row=row,
        train=train,
        Ensemble=Ensemble,
        LEARNED=LEARNED,
        ENCODED=ENCODED,
        FAILING=FAILING,
        photos=photos,
    )
