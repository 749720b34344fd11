"""Search a gallery in the browser: a web page for image uploads and the JSON API behind it.

Needs the extra `[serve]` (FastAPI, uvicorn), which nothing else in the library imports.
"""

from .app import create_app
from .limits import Limits
from .pictures import Pictures
from .searcher import Searcher
from .server import listen, run

__all__ = ["Limits", "Pictures", "Searcher", "create_app", "listen", "run"]
