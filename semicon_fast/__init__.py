"""Learning to hash for image retrieval, and exact search over binary codes.

Submodules are imported at first use, so ``import semicon_fast`` and ``semicon-fast --help`` are
fast.
"""

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

# A checkout that is not installed, and a regular install used from the checkout's root, have no
# `semicon_fast/kernels`; the `kernels` folder next to the package is the same code.
_here = Path(__file__).resolve().parent
if not (_here / "kernels").exists() and (_here.parent / "kernels" / "__init__.py").exists():
    __path__.append(str(_here.parent))

_HOME = {
    "ICON": "layers",
    "SEM": "layers",
    "SEMICON": "models",
    "BackboneHash": "models",
    "DSHNet": "models",
    "SmallHashNet": "models",
    "HammingIndex": "search",
    "ShardedHammingIndex": "search",
    "convert_codes": "codes",
    "pack_codes": "codes",
    "unpack_codes": "codes",
    "rerank": "search",
}
_MODULES = {"data", "layers", "methods", "metrics", "models", "ops", "search", "training", "viz"}

if TYPE_CHECKING:
    from . import data, layers, methods, metrics, models, ops, search, training, viz
    from .codes import convert_codes, pack_codes, unpack_codes
    from .layers import ICON, SEM
    from .models import SEMICON, BackboneHash, DSHNet, SmallHashNet
    from .search import HammingIndex, ShardedHammingIndex, rerank


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return import_module(f"{__name__}.{name}")
    if name in _HOME:
        value = getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME, *_MODULES})


__all__ = [
    "ICON",
    "SEM",
    "SEMICON",
    "BackboneHash",
    "DSHNet",
    "HammingIndex",
    "ShardedHammingIndex",
    "SmallHashNet",
    "convert_codes",
    "data",
    "layers",
    "methods",
    "metrics",
    "models",
    "ops",
    "pack_codes",
    "rerank",
    "search",
    "training",
    "unpack_codes",
    "viz",
]
