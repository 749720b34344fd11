"""A gallery in the browser: a page to drop an image on, and the same as JSON over HTTP.

Needs the extra `[serve]` (FastAPI, uvicorn), which nothing else in the library imports.
"""

from .app import create_app
from .limits import Limits
from .pictures import Pictures
from .searcher import Searcher
from .server import listen, run

__all__ = ["Limits", "Pictures", "Searcher", "create_app", "listen", "run"]
