"""Encodes any number of images into a gallery of codes or a file of features: streaming, in parts,
resumable."""

from .encode import encode_images, extract_features
from .options import FeaturesSummary, Options, Summary
from .runner import Runner
from .vectors import encode_vectors, hashed_blocks

__all__ = [
    "FeaturesSummary",
    "Options",
    "Runner",
    "Summary",
    "encode_images",
    "encode_vectors",
    "extract_features",
    "hashed_blocks",
]
