"""What a study still has to do: its works in order, where they are kept, and their commands."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from ..data import registry
from ..training import Config, preset, resume
from ..training.config import differences
from .study import Budget, Ensemble, Features, Missing, Row, Shallow, Study, Train, Work

# The seed of a shallow method's first repetition, as that of the presets.
FIRST_SEED = 68
RUNS = "runs"
MEASURED, ENCODED, FEATURES = "measured.json", "encoded.safetensors", "features.safetensors"

# Of the data sets whose recipes go over all training images; those of a folder are not known.
TRAINING_IMAGES = {"cifar10": 50_000, "nabirds": 23_929}

State = Literal["done", "to evaluate", "stopped", "to do"]


@dataclass(frozen=True)
class Setup:
    """How studies are run.

    Attributes:
        output: folder of all studies and runs.
        roots: name of a data set -> its folder; "" -> the folder of the only one, or of all with
            a folder each by its name.
        budget: "paper" or "small".
        seeds: repetitions with different seeds.
        settings: changes to every configuration, "section.key=value".
    """

    output: Path
    roots: Mapping[str, str] = field(default_factory=dict)
    budget: Budget = "paper"
    seeds: int = 1
    settings: tuple[str, ...] = ()

    def root_of(self, name: str) -> str | None:
        """The folder of a data set; None where none is given."""
        if name in self.roots:
            return self.roots[name]
        given = self.roots.get("")
        if given is None or name in registry.GENERATED:
            return None
        inside = Path(given) / name
        return str(inside) if inside.is_dir() else given


@dataclass(frozen=True)
class Job:
    """One work with one seed.

    Attributes:
        work: what is done.
        repetition: 0 for the first seed.
        folder: where its results are kept.
        config: configuration of a `Train`, and of the data set of others; None for `Ensemble`.
        needs: folders of the jobs that it needs.
        rows: names of the rows that it is for, directly or not.
    """

    work: Work
    repetition: int
    folder: Path
    config: Config | None
    needs: tuple[Path, ...]
    rows: tuple[str, ...]

    @property
    def state(self) -> State:
        """How far it is."""
        done = self.folder / (FEATURES if isinstance(self.work, Features) else MEASURED)
        if done.is_file():
            return "done"
        if (self.folder / resume.RESULT).is_file():
            return "to evaluate"
        return "stopped" if (self.folder / resume.CONFIG).is_file() else "to do"

    @property
    def command(self) -> str:
        """What it does, as a command where there is one."""
        if isinstance(self.work, Train) and self.config is not None:
            return _train_command(self.work, self.config, self.folder)
        if isinstance(self.work, Ensemble):
            return "codes side by side: " + ", ".join(str(need) for need in self.needs)
        if isinstance(self.work, Features):
            return f"{self.work.kind} features"
        assert isinstance(self.work, Shallow)
        return f"{self.work.method} with {self.work.bits} bits on {self.needs[0]}"


def jobs(study: Study, setup: Setup, only: tuple[str, ...] = ()) -> list[Job]:
    """The jobs of a study in an order in which each comes after those that it needs.

    Raises ValueError for an unknown row, preset or setting, and for a data set without a folder.
    """
    found: dict[Path, Job] = {}
    for row in study.chosen(setup.budget, only):
        work = row.of(setup.budget)
        if work is not None and not isinstance(work, Missing):
            for repetition in range(setup.seeds):
                _add(found, work, repetition, setup, row)
    return list(found.values())


def folder_of(work: Work, repetition: int, setup: Setup) -> Path:
    """The folder of a work with one seed."""
    if isinstance(work, Features) and work.kind != "network":
        return setup.output / RUNS / work.name
    seed = FIRST_SEED + repetition
    if isinstance(work, Train):
        seed = _seed(work, repetition, setup)
    return setup.output / RUNS / work.name / f"seed-{seed}"


def config_of(work: Train, repetition: int, setup: Setup) -> Config:
    """The configuration of a work. Raises ValueError as `jobs` does."""
    config = preset(work.preset).override(work.settings)
    if setup.budget == "small" and not setup.roots:
        config = config.override(list(_generated(config)))
    config = config.override(setup.settings)
    key = work.folder or config.data.name
    root = setup.root_of(key)
    changes = [f"run.seed={_seed(work, repetition, setup)}"]
    if root is not None:
        changes.append(f"data.root={json.dumps(root)}")
    if work.start is not None:
        model = folder_of(work.start, repetition, setup) / resume.MODEL
        changes.append(f"model.start={json.dumps(str(model))}")
    if work.similarity is not None:
        path = similarity_file(work.similarity, key, setup)
        changes.append(f"method.options.similarity={json.dumps(str(path))}")
    return config.override(changes)


def similarity_file(network: str, data: str, setup: Setup) -> Path:
    """Where the mean features of the classes of a data set by a published network are kept."""
    return setup.output / RUNS / f"class-features-{network}-{data}.safetensors"


def source_of(work: Work) -> Train | None:
    """The work whose configuration names the data set of a work; None for `Missing`."""
    if isinstance(work, Features):
        return work.of
    if isinstance(work, Shallow):
        return work.features.of
    if isinstance(work, Ensemble):
        return work.members[0]
    return work if isinstance(work, Train) else None


def missing_root(job: Job) -> str | None:
    """Why the data set of a job cannot be read, None if it is there."""
    if job.config is not None:
        try:
            registry.check_root(job.config.data.name, job.config.data.root)
        except ValueError as error:
            return str(error)
    return None


def check_roots(planned: list[Job]) -> None:
    """Raises ValueError if no job that is not done finds its data set."""
    open_jobs = [job for job in planned if job.config is not None and job.state != "done"]
    reasons = [missing_root(job) for job in open_jobs]
    if reasons and all(reasons):
        raise ValueError(reasons[0])


def _add(found: dict[Path, Job], work: Work, repetition: int, setup: Setup, row: Row) -> Path:
    """Add a work after what it needs; the folder of its job."""
    needs = tuple(_add(found, need, repetition, setup, row) for need in work.needs)
    folder = folder_of(work, repetition, setup)
    if folder in found:
        job = found[folder]
        if row.name not in job.rows:
            rows = (*job.rows, row.name)
            found[folder] = Job(job.work, job.repetition, folder, job.config, job.needs, rows)
        return folder
    source = None if isinstance(work, Ensemble) else source_of(work)
    config = None if source is None else config_of(source, repetition, setup)
    found[folder] = Job(work, repetition, folder, config, needs, (row.name,))
    return folder


def _seed(work: Train, repetition: int, setup: Setup) -> int:
    given = [s for s in (*work.settings, *setup.settings) if s.startswith("run.seed=")]
    first = preset(work.preset).override(given).run.seed
    return first + work.member + work.members * repetition


def _generated(config: Config) -> Iterator[str]:
    """Settings that put generated birds in the place of a data set."""
    if config.data.name not in registry.GENERATED:
        options = {"size": config.data.image_size}
        # A classifier of CIFAR-10 has ten outputs.
        options |= {"classes": 10} if config.data.name == "cifar10" else {}
        yield 'data.name="birdlets"'
        yield f"data.options={json.dumps(options)}"


def cost(study: Study, budget: Budget) -> tuple[int, int]:
    """How many networks a study trains, and over how many images their passes go in sum."""
    setup = Setup(Path("studies"), {"": "."}, budget)
    networks = images = 0
    for job in jobs(study, setup):
        if isinstance(job.work, Train) and job.config is not None:
            schedule = job.config.schedule
            drawn = schedule.samples or TRAINING_IMAGES.get(job.config.data.name, 0)
            networks += 1
            images += schedule.iterations * schedule.epochs * drawn
    return networks, images


def _train_command(work: Train, config: Config, folder: Path) -> str:
    """The command that trains the same network."""
    words = ["semicon-fast", "train", "--preset", work.preset]
    for key in differences(preset(work.preset), config):
        section, _, name = key.partition(".")
        value = config.model_dump(mode="json")[section][name]
        words += (
            ["--root", value] if key == "data.root" else ["--set", f"{key}={json.dumps(value)}"]
        )
    return shlex.join([*words, "-o", str(folder)])


def study_command(study: Study, setup: Setup, only: tuple[str, ...] = ()) -> str:
    """The command that runs the study, or those of its rows."""
    words = ["semicon-fast", "study", "run", study.name, "-o", str(setup.output)]
    for name, root in setup.roots.items():
        words += ["--root", f"{name}={root}" if name else root]
    if setup.budget != "paper":
        words += ["--budget", setup.budget]
    if setup.seeds != 1:
        words += ["--seeds", str(setup.seeds)]
    for option, values in (("--set", setup.settings), ("--only", only)):
        for value in values:
            words += [option, value]
    return shlex.join(words)
