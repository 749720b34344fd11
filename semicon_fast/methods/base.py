"""Base class of the learning methods: loss on the network's outputs and update of learned codes."""

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor, nn

from ..arrays import check_number as check_number

if TYPE_CHECKING:
    from ..models import HashModel
    from ..models.outputs import HashOutput


class Method(nn.Module):
    """Base class of the learning methods.

    State that must be restored on resume is kept in persistent buffers, so that a checkpoint only
    needs ``state_dict()``. Parameters of a method (a classification head, a codebook) are optimised
    together with the network's. The trainer calls, in this order::

        begin -> prepare -> [(take_features) -> start_iteration
                             -> (network_inputs -> loss) * batches -> end_iteration] * n

    On resume it calls begin, prepare and start_iteration with the arguments of the interrupted
    iteration and then load_state_dict, so that buffers must have their final shape once
    start_iteration returns.
    """

    name: ClassVar[str]
    asymmetric: ClassVar[bool] = False
    """Whether models are selected by the learned codes of the database, not by encoded ones."""
    stages: tuple[int, ...] = ()
    """Outer iterations at which a new stage of the training begins, with an optimiser and a
    learning-rate schedule of its own, ascending; models are evaluated in the last stage alone."""
    restarts: bool = False
    """Whether each new stage begins with the network's first weights."""

    def begin(self, labels: Tensor, code_length: int, generator: torch.Generator) -> None:
        """Called once per run.

        Args:
            labels: labels of ALL training images, int64 (N,), or bool (N, C) for multi-label data.
            code_length: bits k.
            generator: the method's only source of random numbers; its state is in the checkpoint.
        """

    def prepare(self, model: "HashModel", iterations: int, kept: Tensor) -> None:
        """Called once per run after begin, before anything is written.

        Raises ValueError if the method cannot train this network, on this schedule or on these
        images.

        Args:
            model: the network that will be trained.
            iterations: number of outer iterations.
            kept: int64, positions of the training images that are not held out.
        """

    def start_iteration(self, iteration: int, rows: Tensor) -> None:
        """Called before each outer iteration.

        iteration: number of the iteration, from 0. rows: int64 (n,), its sampled images.
        """

    def wants_features(self, iteration: int) -> bool:
        """Whether take_features should be called in this iteration."""
        return False

    def take_features(self, batches: "Iterable[tuple[HashOutput, Tensor]]") -> None:
        """Receives one pass over the training images in evaluation mode, without augmentation.

        Images that are held out are not among them. A method can compute class anchors of part
        features here (ExchNet). After an interruption the pass is repeated from its beginning.

        batches: pairs of the network's output and the positions of its images, int64 (B,).
        """

    def network_inputs(self, rows: Tensor) -> dict[str, Tensor]:
        """Keyword arguments of the network's forward in addition to the images of a batch.

        Called before the loss of the batch. With several processes each calls it for the whole
        batch, so that all draw the same random numbers, and passes on the rows of its own images.

        rows: int64 (B,) on the CPU, positions of the whole batch among the N training images.
        Returns tensors with one row per image, by the names of forward's arguments.
        """
        return {}

    def loss(self, output: "HashOutput", labels: Tensor, rows: Tensor) -> dict[str, Tensor]:
        """The loss of a batch. Called outside of autocast with a float32 output.

        Args:
            output: output of the network.
            labels: labels of the batch, int64 (B,) or bool (B, C).
            rows: int64 (B,), positions of the images among the N training images.

        Returns:
            scalar terms by name; their sum is minimised.
        """
        raise NotImplementedError

    def share(self, images: int, batch: int) -> float | None:
        """The weight of a partial loss when several processes share a batch.

        If a batch's loss is a weighted sum of per-image losses and uses no random numbers, this is
        the weight of the loss of `images` >= 1 of its `batch` images. None for all other losses,
        such as those of pairs: each process then gathers all outputs and computes the loss of the
        whole batch.
        """
        return None

    def exchange(self, total: "Callable[[Tensor], Tensor]") -> None:
        """Synchronises the method's state between processes.

        Called after each epoch and before each checkpoint if there are several processes; each has
        then stored results only for its own images.

        total: sums a tensor over all processes (a collective operation).
        """

    def end_iteration(self) -> None:
        """Updates the learned codes; called after the last epoch of an outer iteration."""

    @property
    def learned_codes(self) -> Tensor | None:
        """The learned codes, float32 (N, k) of -1 and +1; None before the first update and for
        symmetric methods."""
        return None

    @property
    def has_centers(self) -> bool:
        """Whether the learned codes are those of classes, rows of the buffer `centers` (C, k)."""
        return isinstance(getattr(self, "centers", None), Tensor)


def check_labels(labels: Tensor) -> None:
    """Raises ValueError unless labels are int64 (N,) >= 0 or bool (N, C)."""
    single = labels.ndim == 1 and labels.dtype == torch.int64
    several = labels.ndim == 2 and labels.dtype == torch.bool
    if not (single or several) or len(labels) == 0:
        raise ValueError(
            "labels must be int64 (N,), or bool (N, C) for multi-label images, with N >= 1, "
            f"got {labels.dtype} {tuple(labels.shape)}"
        )
    if single and int(labels.min()) < 0:
        raise ValueError(f"labels must be 0 or more, got {int(labels.min())}")
