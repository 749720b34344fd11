"""Training: configuration, presets, the loop with its checkpoints, evaluation of a run."""

from ..lazy import attach

__getattr__, __dir__, __all__ = attach(__name__, __file__)
