"""Figures of attention maps, features, retrieval results and metrics, each with its data table.

A figure function takes plain data and returns a `Picture`, a Matplotlib figure with the `table` of
the plotted values. `save_figure` writes one file; `save_picture` writes PNG, SVG or PDF files and
the table as CSV.
"""

from .activations import Activations, Look, look, record_activations, seen_pixels
from .curves import (
    code_length_figure,
    output_histogram,
    parts_figure,
    precision_recall_figure,
)
from .figure import FORMATS, Picture, Table, save_figure, save_picture
from .grids import retrieval_grid
from .maps import attention_figure, channel_figure, explanation_figure, overlay

__all__ = [
    "FORMATS",
    "Activations",
    "Look",
    "Picture",
    "Table",
    "attention_figure",
    "channel_figure",
    "code_length_figure",
    "explanation_figure",
    "look",
    "output_histogram",
    "overlay",
    "parts_figure",
    "precision_recall_figure",
    "record_activations",
    "retrieval_grid",
    "save_figure",
    "save_picture",
    "seen_pixels",
]
