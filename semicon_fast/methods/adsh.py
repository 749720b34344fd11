"""Asymmetric deep supervised hashing (ADSH, AAAI 2018)."""

from typing import ClassVar

from .asymmetric import AsymmetricMethod


class ADSH(AsymmetricMethod):
    """`AsymmetricMethod` without the factor 12 / k and with codes that start at zero, as in ADSH's
    code."""

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
