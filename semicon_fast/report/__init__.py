"""What a run looks like: pictures of it, two images explained, and a page that holds it all."""

from ..lazy import attach

__getattr__, __dir__, __all__ = attach(__name__, __file__)
