"""Networks by name; `build` is the inverse of `HashModel.config`.

The module of a network is imported when it is built: some import torchvision, which takes as long
to import as torch.
"""

import inspect
from collections.abc import Mapping
from importlib import import_module
from typing import Any

import torch

from .base import HashModel

# Name -> module and class.
_HOMES = {
    "semicon": ("semicon", "SEMICON"),
    "backbone": ("backbone_hash", "BackboneHash"),
    "dsh": ("dsh", "DSHNet"),
    "small": ("small", "SmallHashNet"),
    "exchnet": ("exchnet", "ExchNet"),
    "a2net": ("a2net", "A2Net"),
    "ensemble": ("ensemble", "Ensemble"),
}
NETWORKS = tuple(_HOMES)


def build(config: Mapping[str, Any], *, seed: int | None = None) -> HashModel:
    """The network that a configuration describes.

    Args:
        config: {"network": name in `NETWORKS`, **constructor arguments}.
        seed: seed of the initial weights, which leaves the global random state unchanged; None
            draws them from the global generator, as torch modules do.

    Raises:
        ValueError: an unknown network, an unknown option, or no code_length.
    """
    options = dict(config)
    name = options.pop("network", None)
    if name not in NETWORKS:
        raise ValueError(f"network must be one of {', '.join(sorted(NETWORKS))}, got {name!r}")
    module, kind = _HOMES[name]
    network: type[HashModel] = getattr(import_module(f".{module}", __package__), kind)
    known = list(inspect.signature(network).parameters)
    unknown = sorted(set(options) - set(known))
    if unknown:
        raise ValueError(
            f"network {name!r} has no option {', '.join(unknown)}; it has {', '.join(known)}"
        )
    if "code_length" not in options:
        raise ValueError(f"network {name!r} needs a code_length")
    if seed is None:
        return network(**options)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        return network(**options)
