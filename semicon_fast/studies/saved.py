"""How the studies of an output folder were run, so that they can be drawn again."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from .catalog import study_of
from .plan import Setup
from .study import Study

FORMAT = 1
SETUP = "study.json"


def folder_of_study(study: Study, setup: Setup) -> Path:
    """The folder of the study's tables and figures."""
    suffix = "" if setup.budget == "paper" else f"-{setup.budget}"
    return setup.output / f"{study.name}{suffix}"


def text_of(study: Study, setup: Setup, failed: Mapping[str, str]) -> str:
    """The content of the file that says how a study was run. failed: row -> why it failed."""
    content = {
        "format": FORMAT,
        "study": study.name,
        "roots": dict(setup.roots),
        "budget": setup.budget,
        "seeds": setup.seeds,
        "settings": list(setup.settings),
        "failed": dict(failed),
    }
    return json.dumps(content, indent=1) + "\n"


def setups(output: Path) -> list[tuple[Study, Setup, dict[str, str]]]:
    """The studies of an output folder, how they were run, and which rows failed and why.

    Raises ValueError if the folder has no study, or a damaged one.
    """
    paths = sorted(output.glob(f"*/{SETUP}"))
    if not paths:
        raise ValueError(
            f"{output} has no study; run one with: semicon-fast study run NAME -o {output} "
            "(`semicon-fast study list` has the names)"
        )
    return [_read(path, output) for path in paths]


def _read(path: Path, output: Path) -> tuple[Study, Setup, dict[str, str]]:
    try:
        found = json.loads(path.read_text("utf-8"))
        if found["format"] != FORMAT:
            raise ValueError(f"its format is {found['format']}, this version reads {FORMAT}")
        setup = Setup(
            output, found["roots"], found["budget"], found["seeds"], tuple(found["settings"])
        )
        return study_of(found["study"]), setup, dict(found["failed"])
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path} is damaged: {error}") from None
