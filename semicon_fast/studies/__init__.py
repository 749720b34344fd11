"""The tables and figures of the papers as data, and how they are run and drawn.

A study has rows; each says what is trained or computed, what the paper printed, and which side of
the database its values are about. Nothing here imports torch until a study is run.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
