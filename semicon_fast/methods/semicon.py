"""SEMICON's objective (paper Eq. 16) as its released code scales it."""

from typing import ClassVar

from .asymmetric import AsymmetricMethod


class SEMICONObjective(AsymmetricMethod):
    """Eq. 16 with the factor 12 / k and the division by (batch * N) of the released code; codes
    start as standard normal reals. On a plain ResNet (`BackboneHash`) it is the paper's "vanilla
    backbone"."""

    name: ClassVar[str] = "semicon"
