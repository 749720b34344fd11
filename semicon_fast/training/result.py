"""The result of a run, result.json."""

import json
import os
import platform
import shlex
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from .. import __version__
from ..files import atomic_write
from .config import Config
from .resume import RESULT, check_finished


@dataclass(frozen=True)
class Result:
    """The result of a run.

    Attributes:
        evaluation: way of computing the database's codes -> metrics.
        protocol: one sentence about the data with its counts.
        selection: which model was kept and why.
        config: the configuration.
        seconds: training time, summed over resumed runs.
        command: command line.
        versions: versions of the software.
        passed_over: reason -> how many files, folders or links the data set's reader left out.
    """

    evaluation: dict[str, dict[str, Any]]
    protocol: str
    selection: dict[str, Any]
    config: Config
    seconds: float
    command: str
    versions: dict[str, str]
    passed_over: dict[str, int] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """The content of result.json."""
        return {
            "evaluation": self.evaluation,
            "protocol": self.protocol,
            "selection": self.selection,
            "config": self.config.model_dump(mode="json"),
            "seconds": self.seconds,
            "command": self.command,
            "versions": self.versions,
            "passed_over": self.passed_over,
        }

    def save(self, path: Path) -> None:
        with atomic_write(path, "w") as file:
            file.write(json.dumps(self.to_dict(), indent=1) + "\n")

    @classmethod
    def load(cls, path: Path) -> "Result":
        content = json.loads(path.read_text("utf-8"))
        config = Config.model_validate(content.pop("config"))
        return cls(config=config, **content)

    @classmethod
    def of(cls, run: Path) -> "Result":
        """Load the result of the finished run in this folder. Raises ValueError without one."""
        check_finished(run, RESULT)
        return cls.load(run / RESULT)


def command() -> str:
    """This process's command line."""
    return shlex.join([os.path.basename(sys.argv[0]), *sys.argv[1:]])


def versions() -> dict[str, str]:
    """Versions of the software and the machine type, on which metrics may depend."""
    return {
        "semicon_fast": __version__,
        "torch": torch.__version__,
        "numpy": np.__version__,
        "python": platform.python_version(),
        "machine": platform.machine(),
    }
