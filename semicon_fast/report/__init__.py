"""Reports on a training run: figures, an HTML page, and the explanation of a pair's distance."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
