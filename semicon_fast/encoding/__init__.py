"""Encodes any number of images into a gallery of codes: streaming, in parts, resumable."""

from .encode import Options, Summary, encode_images
from .runner import Runner

__all__ = ["Options", "Runner", "Summary", "encode_images"]
