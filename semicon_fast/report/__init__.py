"""Reports on a training run: figures, an HTML page, and the explanation of a pair's distance."""

from .examples import Examples, Hit, of_paths, of_run
from .explanation import Explanation, explain
from .page import Page, run_page, write
from .pictures import KINDS, run_pictures

__all__ = [
    "KINDS",
    "Examples",
    "Explanation",
    "Hit",
    "Page",
    "explain",
    "of_paths",
    "of_run",
    "run_page",
    "run_pictures",
    "write",
]
