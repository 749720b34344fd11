"""Conversion and checks of arguments: NumPy arrays, torch tensors, integers, named choices."""

import operator
import warnings
from collections.abc import Sequence
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

Array = TypeVar("Array", np.ndarray, Tensor)


def check_integer(value: Any, name: str, low: int, high: int | None = None) -> int:
    """`value` as an int in low..high. Raises TypeError or ValueError naming `name`."""
    wanted = f"an integer from {low} to {high}" if high is not None else f"an integer >= {low}"
    try:
        if isinstance(value, (bool, np.bool_)):
            raise TypeError
        number = operator.index(value)
    except TypeError:
        raise TypeError(f"{name} must be {wanted}, got {value!r}") from None
    if number < low or (high is not None and number > high):
        raise ValueError(f"{name} must be {wanted}, got {number}")
    return number


def check_choice(value: str, choices: Sequence[str], name: str) -> str:
    """Returns `value`. Raises ValueError, naming `name`, unless it is one of `choices`."""
    if value not in choices:
        raise ValueError(f"{name} must be one of {', '.join(choices)}, got {value!r}")
    return value


def check_number(name: str, value: Any, least: float, *, above: bool = False) -> float:
    """`value` as a float. Raises ValueError unless it is finite and >= `least` (above: >)."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = float("nan")
    enough = number > least if above else number >= least
    if not enough or number == float("inf"):
        wanted = f"{'more than' if above else 'at least'} {least:g}"
        raise ValueError(f"{name} must be a finite number, {wanted}, got {value!r}")
    return number


def as_tensor(values: Any, name: str) -> Tensor:
    """`values`, a NumPy array or tensor, as a tensor that shares its memory; not to be written.

    Arrays that PyTorch cannot share (negative or uneven strides, foreign byte order) are copied.
    Raises TypeError for other types, dtypes that PyTorch does not have, and sparse or meta tensors.
    """
    if isinstance(values, Tensor):
        if values.layout is not torch.strided or values.is_meta:
            kind = "meta" if values.is_meta else str(values.layout)
            raise TypeError(f"{name} must be a dense tensor with data, got one of {kind}")
        return values.detach()
    if not isinstance(values, np.ndarray):
        raise TypeError(
            f"{name} must be a NumPy array or a torch tensor, got {type(values).__name__}"
        )
    steps = values.strides
    uneven = any(step < 0 or step % (values.itemsize or 1) for step in steps)
    if uneven or not values.dtype.isnative:
        values = np.array(values, dtype=values.dtype.newbyteorder("="))
    try:
        with warnings.catch_warnings():
            # Read-only memory-mapped arrays are fine here: they are only read.
            warnings.filterwarnings("ignore", message=".*not writable.*")
            return torch.from_numpy(values)
    except TypeError as error:
        raise TypeError(f"{name} has a dtype torch does not have: {values.dtype}") from error


def as_features(values: Any, name: str) -> Tensor:
    """Feature vectors (N, F), a NumPy array or tensor, as a tensor that shares their memory.

    Raises TypeError unless they are floating point, ValueError unless they are two-dimensional.
    """
    features = as_tensor(values, name)
    if not features.is_floating_point():
        raise TypeError(f"{name} must be floating point, got {features.dtype}")
    if features.ndim != 2:
        raise ValueError(f"{name} must be (N, F), got {tuple(features.shape)}")
    return features


def check_finite(features: Tensor, name: str) -> Tensor:
    """`features`. Raises ValueError if there is NaN or infinity among them."""
    # NaN or infinity make a sum so, which one pass tells; but finite values may overflow it.
    total = features.sum(dtype=torch.promote_types(features.dtype, torch.float32))
    if not total.isfinite() and not features.isfinite().all():
        raise ValueError(f"{name} must be finite, got NaN or infinity")
    return features


def as_labels(values: Any, name: str, count: int, of: str) -> Tensor:
    """Labels of `count` things, named by `of`, as a tensor int64 (N,) or bool (N, C).

    Raises TypeError for labels that are neither integers (N,) nor bool (N, C), ValueError for
    another number of rows.
    """
    if isinstance(values, np.ndarray) and values.dtype.kind in "USTO":
        raise TypeError(
            f"{name} must be integers (N,) or bool (N, C), got {values.dtype}; number the classes "
            "of both sets together: np.unique(names, return_inverse=True)[1]"
        )
    labels = as_tensor(values, name)
    multi_hot = labels.ndim == 2 and labels.dtype is torch.bool
    if not multi_hot:
        real = labels.is_floating_point() or labels.is_complex()
        if labels.ndim != 1 or real or labels.dtype is torch.bool:
            hint = "; convert labels of 0 and 1 to bool" if labels.ndim == 2 else ""
            raise TypeError(
                f"{name} must be integers (N,) or bool (N, C), "
                f"got {labels.dtype} {tuple(labels.shape)}{hint}"
            )
    if len(labels) != count:
        raise ValueError(
            f"{name} must have one row for each of the {count} {of}, got {len(labels)}"
        )
    return labels if multi_hot else labels.to(torch.int64)


def as_integers(values: Any, name: str) -> Tensor:
    """`values`, a NumPy array, tensor or sequence of integers or bools, as a tensor (n,).

    Raises TypeError or ValueError naming `name`.
    """
    if not isinstance(values, (np.ndarray, Tensor)):
        try:
            array = np.asarray(values)
        except ValueError as error:
            raise TypeError(f"{name} must be integers, got rows of different lengths") from error
        values = array.astype(np.int64) if array.size == 0 else array
    numbers = as_tensor(values, name)
    if numbers.is_floating_point() or numbers.is_complex():
        raise TypeError(f"{name} must be integers, got {numbers.dtype}")
    if numbers.ndim != 1:
        raise ValueError(f"{name} must be (n,), got {tuple(numbers.shape)}")
    return numbers


def refuse_integer_mask(numbers: Tensor, name: str, count: int, wanted: str) -> None:
    """Raises ValueError if integers (n,), each naming one of `count` rows, look like a mask.

    They do if there is one for each row and all are 0 or 1, some of them repeated. wanted: what the
    argument should be, for the message.
    """
    if len(numbers) != count or not ((numbers == 0) | (numbers == 1)).all():
        return
    if len(numbers.unique()) < count:
        raise ValueError(f"{name} must be {wanted}, got a mask of {count} integers 0 and 1")


def as_positions(values: Any, name: str, count: int) -> Tensor:
    """Positions int64 (n,) among `count` rows, from integers (n,) or from a mask, bool (count,).

    The positions of a mask are ascending; integers keep their order and may repeat. Raises
    TypeError for other dtypes; ValueError for integers outside 0..count - 1, a mask of another
    length, and a mask of zeros and ones that is no bool.
    """
    numbers = as_integers(values, name)
    if numbers.dtype is torch.bool:
        if len(numbers) != count:
            raise ValueError(
                f"{name} must be positions, or a mask with one value for each of the {count} rows, "
                f"got a mask of {len(numbers)}"
            )
        return numbers.nonzero().flatten()
    numbers = numbers.to(torch.int64)
    if len(numbers) and not (int(numbers.min()) >= 0 and int(numbers.max()) < count):
        raise ValueError(
            f"{name} must lie in 0..{count - 1}, got {int(numbers.min())}..{int(numbers.max())}"
        )
    refuse_integer_mask(numbers, name, count, "positions, or a mask of bool")
    return numbers


def writable(array: Array) -> Tensor:
    """A tensor that shares the memory of an output array. Raises TypeError if it cannot."""
    if isinstance(array, Tensor):
        # A tensor that was made in inference mode can be written to outside of it as an alias.
        return torch.from_dlpack(array) if array.is_inference() else array
    if not isinstance(array, np.ndarray) or not array.flags.carray:
        raise TypeError("out must hold tensors, or NumPy arrays that are contiguous and writable")
    return torch.from_numpy(array)


def like(result: Tensor, example: Any) -> Any:
    """`result` as a tensor on `example`'s device if that is a tensor, else as a NumPy array."""
    if isinstance(example, Tensor):
        return result.to(example.device)
    return result.cpu().numpy()
