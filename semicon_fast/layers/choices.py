"""Checks of named options, and the weight initialisation, both shared by the layers."""

from torch import nn

VARIANTS = ("paper", "official")


def check_choice(owner: str, name: str, value: str, choices: tuple[str, ...]) -> str:
    """Returns `value`; raises a ValueError that lists `choices` unless it is one of them."""
    if value not in choices:
        raise ValueError(f"{owner}: {name} must be one of {', '.join(choices)}, got {value!r}")
    return value


def initialise_convolutions(module: nn.Module) -> None:
    """Kaiming-normal (fan-out, ReLU) weights in every convolution; BatchNorm weight 1, bias 0."""
    for child in module.modules():
        if isinstance(child, nn.Conv2d):
            nn.init.kaiming_normal_(child.weight, mode="fan_out", nonlinearity="relu")
        elif isinstance(child, nn.BatchNorm2d):
            nn.init.ones_(child.weight)
            nn.init.zeros_(child.bias)
