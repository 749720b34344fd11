"""Packed binary codes and exact search over them."""

from ..lazy import attach

__getattr__, __dir__, __all__ = attach(__name__, __file__)
