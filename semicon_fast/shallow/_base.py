"""What is common to all hashers: scikit-learn's contract, checks of arguments, blocks of rows."""

import inspect
import os
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, TypeVar

import torch
from torch import Tensor

from ..arrays import Array, as_features, as_labels, check_finite, check_integer, like
from ..codes import check_bits, pack_codes
from . import storage

H = TypeVar("H", bound="Hasher")

# Values in float64 that a block of rows may have, 32 MiB; bounds temporary memory.
_VALUES = 1 << 22


class Hasher:
    """Base class: learns from feature vectors how to turn them into binary codes.

    Follows scikit-learn's contract: the constructor only stores its arguments, by which
    `sklearn.base.clone` copies it; `fit` checks them, learns, and returns the hasher. Features are
    floating point of any precision, in NumPy arrays or in tensors on any device; codes and values
    come back as the same kind. Everything is computed in float64.

    Attributes:
        bits: length of a code.
        state_: what was learned, float64 tensors on the CPU by name; missing before `fit`.
        n_features_in_: width of the features it was fitted to.
    """

    name: ClassVar[str]
    # Whether `fit` needs labels; others ignore them.
    supervised: ClassVar[bool] = False
    # The tensors of a fitted hasher.
    STATE: ClassVar[tuple[str, ...]]

    state_: dict[str, Tensor]
    n_features_in_: int

    def __init__(self, bits: int, *, seed: int = 0) -> None:
        self.bits = bits
        self.seed = seed

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """The constructor's arguments by name. deep: ignored, for scikit-learn."""
        return {name: getattr(self, name) for name in inspect.signature(type(self)).parameters}

    def set_params(self: H, **params: Any) -> H:
        """Change arguments of the constructor, and forget what was fitted to the old ones.

        Raises ValueError for a name that the constructor does not have.
        """
        known = self.get_params()
        for name in params:
            if name not in known:
                raise ValueError(
                    f"{self.name} has no parameter {name!r}, it has {', '.join(known)}"
                )
        for name, value in params.items():
            setattr(self, name, value)
        vars(self).pop("state_", None)
        vars(self).pop("n_features_in_", None)
        return self

    def __repr__(self) -> str:
        inside = ", ".join(f"{name}={value!r}" for name, value in self.get_params().items())
        return f"{type(self).__name__}({inside})"

    def check_parameters(self) -> None:
        """Raises TypeError or ValueError, naming it, for an argument that cannot be fitted."""
        check_bits(self.bits)
        check_integer(self.seed, "seed", 0)

    def fit(self: H, features: Any, labels: Any = None) -> H:
        """Learn from feature vectors, and from their labels if the method is supervised.

        What was learned before is replaced, or kept if anything is refused.

        Args:
            features: floating (N, F), N >= 2.
            labels: integers (N,), 0 or more, or bool (N, C); ignored by unsupervised methods.

        Raises TypeError or ValueError naming the argument.
        """
        self.check_parameters()
        rows = _computable(as_features(features, "features"))
        if len(rows) < 2 or not rows.shape[1]:
            raise ValueError(
                f"features must have at least two rows and one column to fit {self.name}, "
                f"got {tuple(rows.shape)}"
            )
        classes = self._targets(labels, rows) if self.supervised else None
        state = self._learn(rows, classes)
        self.state_ = {name: state[name].cpu() for name in self.STATE}
        self.n_features_in_ = rows.shape[1]
        return self

    def project(self, features: Array) -> Array:
        """The real values whose signs are the codes: (N, F) -> (N, bits).

        float64 for features in float64, else float32. A bit is 1 where its value is >= 0. Raises as
        `encode`.
        """
        rows = self._checked(features)
        dtype = torch.float64 if rows.dtype is torch.float64 else torch.float32
        return like(torch.cat([values.to(dtype) for values in self._values(rows)]), features)

    def encode(self, features: Array) -> Array:
        """Packed codes of feature vectors: floating (N, F) -> uint8 (N, ceil(bits / 8)).

        Raises TypeError or ValueError for features that are not finite or not as wide as those of
        `fit`, ValueError before `fit`.
        """
        rows = self._checked(features)
        return like(torch.cat([pack_codes(values >= 0) for values in self._values(rows)]), features)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the fitted hasher to a safetensors file, see `shallow.save`."""
        storage.save(self, path)

    def _learn(self, features: Tensor, labels: Tensor | None) -> Mapping[str, Tensor]:
        """The tensors named in `STATE`, from features (N, F) and from `class_targets` (N, C)."""
        raise NotImplementedError

    def _project(self, features: Tensor, state: Mapping[str, Tensor]) -> Tensor:
        """float64 (n, F) -> (n, bits). state: `state_` on the device of the features."""
        raise NotImplementedError

    def _values(self, rows: Tensor) -> Iterator[Tensor]:
        state = {name: value.to(rows.device) for name, value in self.state_.items()}
        width = max(max(value.shape) for value in state.values() if value.ndim)
        for block in blocks(rows, width):
            yield self._project(block, state)

    def _checked(self, features: Any) -> Tensor:
        if not hasattr(self, "state_"):
            raise ValueError(f"{self.name} has learned nothing yet: call fit first")
        rows = as_features(features, "features")
        if rows.shape[1] != self.n_features_in_:
            raise ValueError(
                f"features must be (N, {self.n_features_in_}), as wide as those that {self.name} "
                f"was fitted to, got {tuple(rows.shape)}"
            )
        return _computable(rows)

    def _targets(self, labels: Any, rows: Tensor) -> Tensor:
        if labels is None:
            raise ValueError(f"{self.name} learns from labels: fit needs labels, got None")
        known = as_labels(labels, "labels", len(rows), "features").to(rows.device)
        return class_targets(known)


def class_targets(labels: Tensor) -> Tensor:
    """Labels, int64 (N,) or bool (N, C), as float64 (N, C) of 0 and 1.

    Integers give a column for each class that occurs. Raises ValueError unless every row has a
    label and there are two different ones.
    """
    unlabelled = labels < 0 if labels.ndim == 1 else ~labels.any(1)
    if unlabelled.any():
        raise ValueError(
            f"labels must name a class of every row, got {int(unlabelled.sum())} rows without one; "
            "leave them out"
        )
    distinct, index = torch.unique(labels, dim=0, return_inverse=True)
    if len(distinct) < 2:
        raise ValueError("labels must have at least two classes, got the same label for every row")
    if labels.ndim == 2:
        return labels.double()
    return torch.nn.functional.one_hot(index, len(distinct)).double()


def blocks(rows: Tensor, width: int = 0) -> Iterator[Tensor]:
    """Rows (N, F), some at a time, as float64; at least one block, without rows where N = 0.

    width: values that each row will need beside its own. Raises ValueError for NaN and infinity.
    """
    step = max(1, _VALUES // max(1, rows.shape[1], width))
    for block in rows.split(step):
        yield check_finite(block, "features").double()


def generator(seed: int) -> torch.Generator:
    """Random numbers of the CPU, the same for features on every device."""
    return torch.Generator().manual_seed(seed)


def _computable(rows: Tensor) -> Tensor:
    """`rows`, on the CPU if their device has no float64."""
    return rows.cpu() if rows.device.type == "mps" else rows
