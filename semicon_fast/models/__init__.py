"""Hashing networks, which map images to binary codes."""

from .backbone_hash import BackboneHash
from .backbones import BACKBONES
from .base import HashModel
from .dsh import DSHNet
from .inference import for_inference
from .outputs import HashOutput
from .registry import NETWORKS, build
from .released import load_released
from .semicon import SEMICON, split_bits
from .small import SmallHashNet
from .storage import load, save

__all__ = [
    "BACKBONES",
    "NETWORKS",
    "SEMICON",
    "BackboneHash",
    "DSHNet",
    "HashModel",
    "HashOutput",
    "SmallHashNet",
    "build",
    "for_inference",
    "load",
    "load_released",
    "save",
    "split_bits",
]
