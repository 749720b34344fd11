"""Layers of SEMICON: parameters, and one operation a step."""

from .icon import ICON
from .sem import SEM, erase_mask

__all__ = ["ICON", "SEM", "erase_mask"]
