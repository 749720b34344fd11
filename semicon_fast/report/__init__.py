"""What a run looks like: pictures of it, two images explained, and a page that holds it all."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
