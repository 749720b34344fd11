"""An ensemble: the codes of several networks side by side (supplement of DSH, section 2)."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from .base import HashModel
from .outputs import HashOutput
from .registry import build


class Ensemble(HashModel):
    """Images (B, 3, S, S) -> the codes of all networks, concatenated to (B, k_1 + ... + k_m).

    The Hamming distance of two such codes is the sum of the networks' distances. `bit_groups` has
    one group for each network, "network1", "network2", ..., in their order. Features are
    concatenated likewise, and attention maps are where every network has some of the same size.

    Args:
        networks: one or more hashing networks, or their configurations (`HashModel.config`). They
            are not copied, and must have been trained with the same preprocessing, which images
            pass through once.
        code_length: the sum of their code lengths, by default; another is refused.

    Raises:
        TypeError: something else among `networks`.
        ValueError: no networks, another code length, or networks that prepare images differently.
    """

    network = "ensemble"

    def __init__(
        self,
        networks: Sequence[HashModel | Mapping[str, Any]] = (),
        *,
        code_length: int | None = None,
    ) -> None:
        made = [_network(given) for given in networks]
        if not made:
            raise ValueError("networks must have at least one network, got none")
        bits = sum(network.code_length for network in made)
        if code_length not in (None, bits):
            raise ValueError(f"code_length must be {bits}, that of all networks, got {code_length}")
        super().__init__(bits)
        self.preprocess = _same_preprocessing(made)
        self.networks = nn.ModuleList(made)
        self.feature_size = sum(network.feature_size for network in made)
        self.bit_groups = {}
        end = 0
        for number, network in enumerate(made, 1):
            self.bit_groups[f"network{number}"] = slice(end, end + network.code_length)
            end += network.code_length

    def options(self) -> dict[str, Any]:
        """code_length, and the configurations of the networks."""
        configs = [network.config() for network in self._members()]
        return {"code_length": self.code_length, "networks": configs}

    def forward(self, images: Tensor) -> HashOutput:
        """images (B, 3, S, S) -> codes (B, k), features (B, F), maps (B, M, H, W) or None."""
        outputs = [network(images) for network in self._members()]
        codes = torch.cat([output.codes for output in outputs], dim=1)
        features = torch.cat([output.features for output in outputs], dim=1)
        maps = [output.maps for output in outputs if output.maps is not None]
        sizes = {found.shape[2:] for found in maps}
        same = len(maps) == len(outputs) and len(sizes) == 1
        return HashOutput(codes, features, maps=torch.cat(maps, dim=1) if same else None)

    def parameter_groups(self, weight_decay: float) -> list[dict[str, Any]]:
        """Those of all networks."""
        groups = (network.parameter_groups(weight_decay) for network in self._members())
        return [group for found in groups for group in found]

    def _members(self) -> list[HashModel]:
        return list(self.networks)  # type: ignore[arg-type]


def _network(given: Any) -> HashModel:
    if isinstance(given, HashModel):
        return given
    if isinstance(given, Mapping):
        return build(given)
    raise TypeError(
        "networks must be hashing networks or their configurations, got one of type "
        f"{type(given).__name__}"
    )


def _same_preprocessing(networks: Sequence[HashModel]) -> dict[str, Any] | None:
    first = networks[0].preprocess
    for number, network in enumerate(networks[1:], 2):
        if network.preprocess != first:
            raise ValueError(
                "networks must have been trained with the same preprocessing, but network 1 has "
                f"{first} and network {number} has {network.preprocess}"
            )
    return first
