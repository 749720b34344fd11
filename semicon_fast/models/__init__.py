"""Hashing networks: images to codes."""

from .base import HashModel
from .dsh import DSHNet
from .registry import NETWORKS, build
from .small import SmallHashNet
from .types import HashOutput

__all__ = ["NETWORKS", "DSHNet", "HashModel", "HashOutput", "SmallHashNet", "build"]
