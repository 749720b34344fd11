"""Creates the device, network and optimiser of a configuration."""

import torch
from torch import nn

from .. import distributed, models
from ..data.seeds import seed_of
from ..models import HashModel
from .config import ModelConfig, OptimizerConfig


def choose_device(name: str) -> torch.device:
    """The device for run.device; "auto" is CUDA if available. Under torchrun each process gets the
    device of its local rank.

    Raises ValueError for a device that does not exist, or that processes would have to share.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError:
        raise ValueError(f"run.device must be auto, cpu or cuda, got {name!r}") from None
    if device.type not in ("cpu", "cuda"):
        raise ValueError(f"run.device must be auto, cpu or cuda, got {name!r}")
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ValueError(f"run.device is {name!r}, but torch sees no CUDA device here")
    return _local_rank_device(name) if device.type == "cuda" and distributed.launched() else device


def _local_rank_device(name: str) -> torch.device:
    if name != "cuda":
        raise ValueError(f"run.device is {name!r}, but each process has its own: use cuda or auto")
    own, found = distributed.local_rank(), torch.cuda.device_count()
    if own >= found:
        raise ValueError(f"process {own} of this machine has no CUDA device: torch sees {found}")
    return torch.device("cuda", own)


def build_network(config: ModelConfig, seed: int) -> HashModel:
    """Build the network and initialise it at random or from model.start.

    Raises ValueError if model.start is another network or has another code length that cannot be
    extended.
    """
    described = {"network": config.network, "code_length": config.code_length, **config.options}
    network = models.build(described, seed=seed_of("weights", seed))
    if config.start is None:
        return network
    start = models.load(config.start)
    if start.network != config.network:
        raise ValueError(
            f"model.start {config.start} is a {start.network!r} network, not {config.network!r}"
        )
    if start.code_length == config.code_length:
        network.load_state_dict(start.state_dict())
        return network
    extend = getattr(start, "extend", None)
    if extend is None:
        raise ValueError(
            f"model.start {config.start} has {start.code_length}-bit codes, not "
            f"{config.code_length}; network {config.network!r} cannot be extended"
        )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed_of("weights", seed))
        longer: HashModel = extend(config.code_length)
    return longer


def build_optimizer(
    config: OptimizerConfig, model: HashModel, method: nn.Module
) -> tuple[torch.optim.Optimizer, list[float]]:
    """The optimiser of all parameters of network and method, and each group's learning rate."""
    groups = model.parameter_groups(config.weight_decay)
    own = [parameter for parameter in method.parameters() if parameter.requires_grad]
    if own:
        groups.append({"params": own, "weight_decay": config.weight_decay, "lr_scale": 1.0})
    rates = [config.lr * group.pop("lr_scale", 1.0) for group in groups]
    for group, rate in zip(groups, rates, strict=True):
        group["lr"] = rate
    if config.name == "sgd":
        if config.nesterov and not config.momentum:
            raise ValueError("optimizer.nesterov needs an optimizer.momentum above 0")
        return torch.optim.SGD(
            groups, lr=config.lr, momentum=config.momentum, nesterov=config.nesterov
        ), rates
    if config.name == "rmsprop":
        return torch.optim.RMSprop(groups, lr=config.lr, momentum=config.momentum), rates
    kind = torch.optim.AdamW if config.name == "adamw" else torch.optim.Adam
    return kind(groups, lr=config.lr), rates
