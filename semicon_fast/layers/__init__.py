"""The layers of SEMICON: they hold the parameters and call one operator per step."""

from .icon import ICON
from .sem import SEM, erase_mask

__all__ = ["ICON", "SEM", "erase_mask"]
