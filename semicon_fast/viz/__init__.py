"""Figures of attention maps, features, retrieval results and metrics, each with its data table.

A figure function takes plain data and returns a `Picture`, a Matplotlib figure with the `table` of
the plotted values. `save_figure` writes one file; `save_picture` writes PNG, SVG or PDF files and
the table as CSV.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
