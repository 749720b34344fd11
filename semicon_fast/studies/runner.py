"""Runs a study: trains, computes and measures what is missing, writes its tables and figures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from .. import metrics, shallow
from ..codes import join_codes
from ..models.execution import device_name
from ..training import (
    Config,
    EncodedRun,
    Interrupted,
    Reporter,
    Result,
    Stop,
    Trainer,
    command,
    encoded_run,
    evaluate_encoded,
    resume,
    versions,
)
from ..training.config import differences
from ..training.factory import choose_device
from ..training.sides import SYMMETRIC
from . import features, measured, output
from .plan import (
    ENCODED,
    FEATURES,
    FIRST_SEED,
    Job,
    Setup,
    check_roots,
    jobs,
    missing_root,
    study_command,
)
from .study import Ensemble, Features, Shallow, Study, Train


def run(
    study: Study,
    setup: Setup,
    only: tuple[str, ...] = (),
    *,
    reporter: Reporter | None = None,
    stop: Stop | None = None,
) -> dict[str, str]:
    """Do what is missing of a study, and write its tables, figures and page.

    A job that fails is left out, with all that needs it, and the others are done.

    Args:
        study: the study.
        setup: where, with what data, and how often.
        only: rows to run, see `Study.chosen`; the tables have all rows.
        reporter: shows the progress.
        stop: a flag by which the caller can request a stop; signals set it too.

    Returns:
        row -> why it failed.

    Raises:
        Interrupted: after Ctrl-C, SIGTERM or `stop`; the message says how to go on.
        ValueError: an unknown row or setting, or no data set is where it was said to be.
    """
    show = reporter or Reporter()
    planned = jobs(study, setup, only)
    check_roots(planned)
    failed: dict[Path, str] = {}
    try:
        for number, job in enumerate(planned):
            if job.state == "done":
                continue
            where = job.folder.relative_to(measured.runs_folder(setup))
            show.notice(f"{number + 1} of {len(planned)}, {where}: for {', '.join(job.rows)}")
            reason = _lost(job, failed) or missing_root(job)
            reason = reason or _attempt(job, setup, show, stop or Stop())
            if reason is not None:
                failed[job.folder] = reason
                show.warning(f"{', '.join(job.rows)} failed: {reason}")
    except (Interrupted, KeyboardInterrupt):
        output.write(study, setup, _by_row(planned, failed), show)
        how = study_command(study, setup, only)
        raise Interrupted(f"before the end; what is done is kept, go on with: {how}") from None
    result = _by_row(planned, failed)
    output.write(study, setup, result, show)
    return result


def _lost(job: Job, failed: dict[Path, str]) -> str | None:
    lost = [need for need in job.needs if need in failed]
    return f"it needs {lost[0]}, which failed" if lost else None


def _attempt(job: Job, setup: Setup, reporter: Reporter, stop: Stop) -> str | None:
    """Do a job; why it failed, None if it did not."""
    try:
        perform(job, setup, reporter, stop)
    except Interrupted:
        raise
    except Exception as error:
        return f"{error}" or type(error).__name__
    finally:
        reporter.close()
    return None


def _by_row(planned: list[Job], failed: dict[Path, str]) -> dict[str, str]:
    """Row -> why it failed: the reason that its own work gives, else that of what it needs."""
    found: dict[str, str] = {}
    for job in planned:
        if job.folder in failed:
            for row in job.rows:
                found.setdefault(row, failed[job.folder])
    return found


def perform(job: Job, setup: Setup, reporter: Reporter, stop: Stop) -> None:
    """Do one job, whose needs are done. Raises Interrupted, and any error of the work."""
    work = job.work
    if isinstance(work, Train):
        _train(job, work, reporter, stop)
    elif isinstance(work, Ensemble):
        _join(job, work)
    elif isinstance(work, Features):
        assert job.config is not None
        reporter.begin(f"{work.kind} features", None)
        found = features.extract(
            work.kind, job.config, job.needs[0] if job.needs else None, reporter.step
        )
        features.save_tensors(job.folder / FEATURES, found, {"data": job.config.data.name})
    else:
        assert isinstance(work, Shallow)
        _hash(job, work, reporter)


def _train(job: Job, work: Train, reporter: Reporter, stop: Stop) -> None:
    config, folder = job.config, job.folder
    assert config is not None
    begun = (folder / resume.CONFIG).is_file()
    if begun:
        _check_same(folder, config)
    if work.similarity is not None:
        path = Path(config.method.options["similarity"])
        if not path.is_file():
            reporter.begin(f"class features by {work.similarity}", None)
            features.write_similarity(path, work.similarity, config, reporter.step)
    encoded: EncodedRun | None = None
    if not (folder / resume.RESULT).is_file():
        trainer = Trainer(config, output=folder, resume=begun, reporter=reporter, stop=stop)
        trainer.fit()
        encoded = trainer.encoded
    found = encoded or encoded_run(folder, root=config.data.root)
    codes = {"queries": found.queries, "database": found.database}
    labels = {
        "query_labels": found.data.query.labels,
        "database_labels": found.data.database.labels,
    }
    features.save_tensors(folder / ENCODED, codes | labels, {"bits": str(found.bits)})
    evaluated = evaluate_encoded(found, topk=work.topk)
    result = Result.of(folder)
    measured.write(
        folder,
        {
            "evaluation": evaluated["evaluation"],
            **_facts(config, config.model.network, config.method.name, found.bits),
            "selection": result.selection["kept"],
            "protocol": evaluated["protocol"],
            "training seconds": round(result.seconds),
            "command": result.command,
        },
    )


def _check_same(folder: Path, config: Config) -> None:
    stored = Config.read(folder / resume.CONFIG)
    # A model to start from may have moved with the folder of all runs.
    other = [
        key
        for key in differences(stored, config)
        if key not in resume.MAY_CHANGE and key != "model.start"
    ]
    if other:
        raise ValueError(
            f"{folder} was trained with other settings ({', '.join(other)}); choose another output"
        )


def _join(job: Job, work: Ensemble) -> None:
    """Codes of the members side by side: distances are the sums of the members' distances."""
    pieces = [features.load_tensors(need / ENCODED) for need in job.needs]
    first = pieces[0][0]
    for piece, _ in pieces[1:]:
        for name in ("query_labels", "database_labels"):
            if not torch.equal(first[name], piece[name]):
                raise ValueError(f"the members of {work.name} are not of the same data set")
    lengths = [int(about["bits"]) for _, about in pieces]
    joined = {
        name: join_codes(
            [(piece[name], bits) for (piece, _), bits in zip(pieces, lengths, strict=True)]
        )
        for name in ("queries", "database")
    }
    records = [measured.read(need) for need in job.needs]
    known = [record for record in records if record is not None]
    tensors = {**first, **joined}
    same = {name: known[0][name] for name in ("data", "method", "selection", "protocol")}
    measured.write(
        job.folder,
        {
            "evaluation": _evaluation(tensors, sum(lengths)),
            **same,
            "network": "ensemble",
            "bits": sum(lengths),
            "seed": FIRST_SEED + job.repetition,
            "training seconds": sum(record["training seconds"] for record in known),
            **_environment("cpu"),
        },
    )


def _hash(job: Job, work: Shallow, reporter: Reporter) -> None:
    config = job.config
    assert config is not None
    reporter.begin(f"{work.method}, {work.bits} bits", None)
    found, _ = features.load_tensors(job.needs[0] / FEATURES)
    seed = FIRST_SEED + job.repetition
    hasher = shallow.build(work.method, work.bits, seed=seed, **work.options)
    hasher.fit(found["train"], found["train_labels"])
    side = "database" if "database" in found else "train"
    tensors = {
        "queries": hasher.encode(found["query"]),
        "database": hasher.encode(found[side]),
        "query_labels": found["query_labels"],
        "database_labels": found[f"{side}_labels"],
    }
    counts = f"{len(tensors['queries']):,} queries against {len(tensors['database']):,} images"
    measured.write(
        job.folder,
        {
            "evaluation": _evaluation(tensors, work.bits),
            **_facts(config, work.features.name, work.method, work.bits),
            "seed": seed,
            "selection": "",
            "protocol": f"{config.data.name}: {counts} of the database, both by their features.",
            "training seconds": "",
        },
    )


def _evaluation(tensors: dict[str, torch.Tensor], bits: int) -> dict[str, Any]:
    return {
        SYMMETRIC: metrics.evaluate(
            tensors["queries"],
            tensors["database"],
            tensors["query_labels"],
            tensors["database_labels"],
            bits=bits,
            ties="expected",
            all_ties=True,
            curve=True,
        )
    }


def _facts(config: Config, network: str, method: str, bits: int) -> dict[str, Any]:
    root, name = config.data.root, config.data.name
    return {
        "data": Path(root).name if root and name in ("folder", "list") else name,
        "network": network,
        "method": method,
        "bits": bits,
        "seed": config.run.seed,
        **_environment(str(choose_device(config.run.device))),
    }


def _environment(device: str) -> dict[str, str]:
    known = versions()
    return {
        "device": device_name(device),
        "torch": known["torch"],
        "semicon_fast": known["semicon_fast"],
        "command": command(),
    }
