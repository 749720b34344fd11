"""Encodes any number of images into a gallery of codes or a file of features: streaming, in parts,
resumable."""

from .encode import encode_images, extract_features
from .options import FeaturesSummary, Options, Summary
from .runner import Runner

__all__ = [
    "FeaturesSummary",
    "Options",
    "Runner",
    "Summary",
    "encode_images",
    "extract_features",
]
