"""Pictures of what a network sees and retrieves, each with the table behind it.

A figure function takes plain data and gives a `Picture`: a Matplotlib figure with its `table`.
`save_figure` writes one file; `save_picture` writes PNG, SVG or PDF and the table as CSV.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
