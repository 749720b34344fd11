"""What a run looks like: pictures of it, two images explained, and a page that holds it all."""

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
