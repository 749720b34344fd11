"""Training: configuration, presets, the training loop with checkpoints, evaluation of a run."""

from . import presets, reporter
from .config import Config
from .evaluation import EncodedRun, encoded_run, evaluate_encoded, evaluate_run
from .interrupt import Interrupted, Stop
from .presets import preset
from .reporter import Reporter, RichReporter
from .result import Result, command, versions
from .trainer import Trainer

__all__ = [
    "Config",
    "EncodedRun",
    "Interrupted",
    "Reporter",
    "Result",
    "RichReporter",
    "Stop",
    "Trainer",
    "command",
    "encoded_run",
    "evaluate_encoded",
    "evaluate_run",
    "preset",
    "presets",
    "reporter",
    "versions",
]
