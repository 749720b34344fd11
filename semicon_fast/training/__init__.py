"""Training: configuration, presets, the loop with its checkpoints, evaluation of a run."""

from . import presets, reporter
from .best import BestSoFar, best_so_far
from .config import Config
from .evaluation import EncodedRun, encoded_run, evaluate_encoded, evaluate_run
from .interrupt import Interrupted, Stop
from .presets import preset
from .reporter import Reporter, RichReporter
from .result import Result, command, versions
from .trainer import Trainer

__all__ = [
    "BestSoFar",
    "Config",
    "EncodedRun",
    "Interrupted",
    "Reporter",
    "Result",
    "RichReporter",
    "Stop",
    "Trainer",
    "best_so_far",
    "command",
    "encoded_run",
    "evaluate_encoded",
    "evaluate_run",
    "preset",
    "presets",
    "reporter",
    "versions",
]
