"""Learning to hash for image retrieval, and exact search over binary codes.

Submodules are imported at first use, so ``import semicon_fast`` and ``semicon-fast --help`` are
fast.
"""

from pathlib import Path

import lazy_loader

__version__ = "0.1.0"

# A checkout that is not installed, and a regular install used from the checkout's root, have no
# `semicon_fast/kernels`; the `kernels` folder next to the package is the same code.
_here = Path(__file__).resolve().parent
if not (_here / "kernels").exists() and (_here.parent / "kernels" / "__init__.py").exists():
    __path__.append(str(_here.parent))

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
