"""Asymmetric deep supervised hashing (AAAI 2018)."""

from typing import ClassVar

from .asymmetric import AsymmetricMethod


class ADSH(AsymmetricMethod):
    """The same objective without the factor 12 / k; codes start as zeros, as in ADSH's code."""

    name: ClassVar[str] = "adsh"

    def __init__(
        self,
        *,
        gamma: float = 200.0,
        beta: float = 1.0,
        normalise: bool = True,
        reference_length: float | None = None,
        start: str = "zeros",
    ) -> None:
        super().__init__(
            gamma=gamma,
            beta=beta,
            normalise=normalise,
            reference_length=reference_length,
            start=start,
        )
