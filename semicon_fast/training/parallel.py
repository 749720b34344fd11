"""Data-parallel training whose loss and gradient do not depend on the number of processes.

Each process has a part of each batch, and torch's DistributedDataParallel averages the gradients.
If the loss is a sum over images, each process's loss is weighted by its share of the batch's loss.
For any other loss, every process gathers all outputs and computes the loss of the whole batch.
"""

import inspect
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from .. import distributed
from ..data import Batch
from ..data.loader import part_of_batch
from ..methods import Method
from ..models import HashOutput
from .batch_norm import synchronise_batch_norm


class LossShare(NamedTuple):
    """This process's contribution to the loss of a batch.

    terms: its loss terms, empty if it has no image of the batch. loss: the value to differentiate;
    the mean of all processes' gradients is then the gradient of the batch's loss. weight: weight of
    `terms`, whose weighted sum over all processes gives the terms of the batch.
    """

    terms: dict[str, Tensor]
    loss: Tensor
    weight: float


def wrap_network(model: nn.Module, batch_norm: str, device: torch.device) -> nn.Module:
    """`model` itself with one process, else wrapped in DistributedDataParallel.

    The parameters are still those of `model`. Buffers are not synchronised here, but by
    `synchronise_state`.
    """
    if distributed.world_size() == 1:
        return model
    if batch_norm == "global":
        synchronise_batch_norm(model)
    known = inspect.signature(DistributedDataParallel).parameters
    # torch 2.14 renamed the argument and warns about the old name.
    buffers = "forward_sync_buffers" if "forward_sync_buffers" in known else "broadcast_buffers"
    options: dict[str, Any] = {buffers: False, "gradient_as_bucket_view": True}
    if device.type == "cuda":
        options["device_ids"] = [device]
    with distributed.watched():
        return DistributedDataParallel(model, **options)


def own_part(batch: int) -> range:
    """The range of positions in a batch of `batch` images that belongs to this process."""
    return part_of_batch(batch, distributed.rank(), distributed.world_size())


def loss_share(method: Method, output: HashOutput, batch: Batch, labels: Tensor) -> LossShare:
    """This process's share of the loss of a batch.

    Args:
        method: the learning method.
        output: output for this process's images, or for dummy images if it has none.
        batch: the batch.
        labels: labels of all training images, on the device of `output`.
    """
    processes, images = distributed.world_size(), len(batch.rows)
    if processes == 1 or method.share(1, 1) is not None:
        return _per_image_share(
            method, output, batch.rows.to(labels.device), labels, len(batch.whole)
        )
    whole, start = batch.whole.to(labels.device), own_part(len(batch.whole)).start
    gathered: list[Any] = [
        None if value is None else _AllGather.apply(value[:images], start, len(whole))
        for value in output
    ]
    terms = method.loss(HashOutput(*gathered), labels[whole], whole)
    return LossShare(terms, _sum_terms(terms), 1 / processes)


def _per_image_share(
    method: Method, output: HashOutput, rows: Tensor, labels: Tensor, batch: int
) -> LossShare:
    if len(rows) == 0:
        # DistributedDataParallel needs a gradient for every parameter, even if it is zero.
        return LossShare({}, 0.0 * output.codes.double().sum(), 0.0)
    terms = method.loss(output, labels[rows], rows)
    processes = distributed.world_size()
    if processes == 1:
        return LossShare(terms, _sum_terms(terms), 1.0)
    weight = method.share(len(rows), batch)
    assert weight is not None
    return LossShare(terms, _sum_terms(terms) * (weight * processes), weight)


def average_gradients(method: Method) -> None:
    """Average the gradients of the method's own parameters, which are not part of the
    DistributedDataParallel module."""
    if distributed.world_size() == 1:
        return
    for parameter in method.parameters():
        if not parameter.requires_grad:
            continue
        own = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
        parameter.grad = distributed.total(own) / distributed.world_size()


def synchronise_state(model: nn.Module, method: Method) -> None:
    """Synchronise the state that differs between processes within an epoch.

    The network's buffers (running statistics) become those of process 0, which
    DistributedDataParallel would do at each step; the method exchanges its outputs.
    """
    if distributed.world_size() > 1:
        distributed.broadcast(list(model.buffers()))
        method.exchange(distributed.total)


def sum_over_processes(terms: dict[str, Tensor]) -> dict[str, Tensor]:
    """Sum the terms over all processes: float64 on the device of `terms`. A process need not have
    all terms."""
    if distributed.world_size() == 1:
        return terms
    device = next(iter(terms.values())).device if terms else None
    names: dict[str, float] = {}
    for found in distributed.everyone({name: float(value) for name, value in terms.items()}):
        for name, value in found.items():
            names[name] = names.get(name, 0.0) + value
    return {
        name: torch.tensor(value, dtype=torch.float64, device=device)
        for name, value in names.items()
    }


def _sum_terms(terms: dict[str, Tensor]) -> Tensor:
    return torch.stack([term.double() for term in terms.values()]).sum()


class _AllGather(torch.autograd.Function):
    """All-gather of rows. Every process differentiates the same loss and the gradients are averaged
    afterwards, so that the gradient of a process's own rows is multiplied by their number."""

    @staticmethod
    def forward(context: Any, rows: Tensor, start: int, count: int) -> Tensor:
        context.own = slice(start, start + len(rows))
        whole = rows.new_zeros(count, *rows.shape[1:])
        whole[context.own] = rows
        return distributed.total(whole)

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        return gradient[context.own] * distributed.world_size(), None, None
