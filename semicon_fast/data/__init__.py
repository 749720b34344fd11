"""Image sets for retrieval: official layouts, folders, lists and a generated data set."""

from ..lazy import attach

__getattr__, __dir__, __all__ = attach(__name__, __file__)
