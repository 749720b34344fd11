"""Any number of images to a gallery of codes: streamed, in parts, and never begun twice."""

from .encode import Options, Summary, encode_images
from .runner import Runner

__all__ = ["Options", "Runner", "Summary", "encode_images"]
