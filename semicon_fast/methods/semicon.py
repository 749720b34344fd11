"""SEMICON's objective (paper Eq. 16) as its released code scales it."""

from typing import ClassVar

from .asymmetric import AsymmetricMethod


class SEMICONObjective(AsymmetricMethod):
    """Eq. 16 with the released code's factor 12 / k and division by (batch * N); the codes are
    initialised with standard normal values. With a plain ResNet (`BackboneHash`) this is the
    paper's "vanilla backbone"."""

    name: ClassVar[str] = "semicon"
