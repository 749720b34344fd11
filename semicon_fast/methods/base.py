"""What a learning method is: outputs to loss, targets, and the update of the codes it learns."""

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from ..models.outputs import HashOutput


class Method(nn.Module):
    """Base of every method.

    State that must survive a restart lies in persistent buffers, so ``state_dict()`` is all that a
    checkpoint needs; parameters of a method (a classification head, a codebook) are handed to the
    optimiser with the network's. The trainer calls, in this order::

        begin -> [(take_features) -> start_iteration -> loss, loss, ... -> end_iteration] * n

    After a restart it calls begin and start_iteration with the arguments of the stopped iteration
    and then load_state_dict, so buffers must have their final shape once start_iteration returns.
    """

    name: ClassVar[str]
    asymmetric: ClassVar[bool] = False
    """True where the method learns the codes of the training images themselves."""

    def begin(self, labels: Tensor, code_length: int, generator: torch.Generator) -> None:
        """Once a run. labels of ALL training images: int64 (N,), or bool (N, C) for several labels.

        Random numbers of the method come from `generator` alone, whose state is in the checkpoint.
        """

    def start_iteration(self, iteration: int, rows: Tensor) -> None:
        """Once an outer iteration, counted from 0. rows int64 (n,): the images sampled for it."""

    def wants_features(self, iteration: int) -> bool:
        """Whether take_features is to be called in this iteration."""
        return False

    def take_features(self, batches: "Iterable[tuple[HashOutput, Tensor]]") -> None:
        """One pass over all training images in evaluation mode, without augmentation.

        batches: the network's output and the rows int64 (B,) of its images among the N. This is
        where class anchors of part features (ExchNet) are computed. A pass that was stopped is
        made again from its beginning.
        """

    def loss(self, output: "HashOutput", labels: Tensor, rows: Tensor) -> dict[str, Tensor]:
        """Named scalar terms, whose sum is minimised. rows int64 (B,): the images among the N.

        Called outside of autocast, with a float32 output.
        """
        raise NotImplementedError

    def share(self, images: int, batch: int) -> float | None:
        """What the loss of `images` >= 1 of a batch of `batch` images counts for in its loss, where
        that is a weighted sum of losses of single images and draws no random number.

        None, for losses of pairs and whatever else: with several processes each then takes the loss
        of the whole batch, over outputs that are gathered from all.
        """
        return None

    def exchange(self, total: "Callable[[Tensor], Tensor]") -> None:
        """With several processes, after each epoch and before each checkpoint: makes equal on all
        of them what each has learned of its own images. total: the sum over processes, collective.
        """

    def end_iteration(self) -> None:
        """The update of the codes, after the last epoch of an outer iteration."""

    @property
    def learned_codes(self) -> Tensor | None:
        """float32 (N, k) of -1 and +1; None before the first update and in symmetric methods."""
        return None


def check_labels(labels: Tensor) -> None:
    """Raises ValueError unless labels are int64 (N,) >= 0 or bool (N, C)."""
    single = labels.ndim == 1 and labels.dtype == torch.int64
    several = labels.ndim == 2 and labels.dtype == torch.bool
    if not (single or several) or len(labels) == 0:
        raise ValueError(
            "labels must be int64 (N,), or bool (N, C) for several labels an image, with N >= 1, "
            f"got {labels.dtype} {tuple(labels.shape)}"
        )
    if single and int(labels.min()) < 0:
        raise ValueError(f"labels must be 0 or more, got {int(labels.min())}")


def check_number(name: str, value: float, least: float, *, above: bool = False) -> float:
    """`value` as a float. Raises ValueError unless it is finite and >= (above: >) `least`."""
    number = float(value)
    enough = number > least if above else number >= least
    if not enough or number == float("inf"):
        wanted = f"{'more than' if above else 'at least'} {least:g}"
        raise ValueError(f"{name} must be a finite number, {wanted}, got {value!r}")
    return number
