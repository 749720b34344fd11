"""Networks by name; `build` is the inverse of `HashModel.config`."""

import inspect
from collections.abc import Mapping
from typing import Any

import torch

from .backbone_hash import BackboneHash
from .base import HashModel
from .dsh import DSHNet
from .semicon import SEMICON
from .small import SmallHashNet

NETWORKS: dict[str, type[HashModel]] = {
    network.network: network for network in (SEMICON, BackboneHash, DSHNet, SmallHashNet)
}


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
    network = NETWORKS[name]
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
