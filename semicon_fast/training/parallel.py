"""A batch that is spread over several processes: one loss, one gradient, whatever their number.

Gradients are averaged by torch's DistributedDataParallel. A process has a part of each batch, so
its loss is scaled by what it counts for in the loss of the whole batch; a loss that is no sum over
images is taken by every process over the outputs of all of them.
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
from .batch_norm import share_statistics


class Share(NamedTuple):
    """terms: of the loss, on this process; empty where it has no image of the batch.

    loss: what it differentiates, so that the mean of all processes' gradients is the gradient of
    the batch's loss. weight: of the terms in the batch's terms, which are the sum over processes.
    """

    terms: dict[str, Tensor]
    loss: Tensor
    weight: float


def spread(model: nn.Module, batch_norm: str, device: torch.device) -> nn.Module:
    """The network to train: `model` itself with one process, else with averaged gradients.

    Its parameters stay those of `model`. Buffers are not exchanged; see `settle`.
    """
    if distributed.world_size() == 1:
        return model
    if batch_norm == "global":
        share_statistics(model)
    known = inspect.signature(DistributedDataParallel).parameters
    # The name of torch before 2.14 warns there.
    buffers = "forward_sync_buffers" if "forward_sync_buffers" in known else "broadcast_buffers"
    options: dict[str, Any] = {buffers: False, "gradient_as_bucket_view": True}
    if device.type == "cuda":
        options["device_ids"] = [device]
    with distributed.watched():
        return DistributedDataParallel(model, **options)


def part(batch: int) -> range:
    """The places of a batch of so many images that this process has."""
    return part_of_batch(batch, distributed.rank(), distributed.world_size())


def share_of_loss(method: Method, output: HashOutput, batch: Batch, labels: Tensor) -> Share:
    """output: of this process's images, or of a stand-in where it has none. labels: of all images,
    on the device of `output`."""
    processes, images = distributed.world_size(), len(batch.rows)
    if processes == 1 or method.share(1, 1) is not None:
        return _own_share(method, output, batch.rows.to(labels.device), labels, len(batch.whole))
    whole, start = batch.whole.to(labels.device), part(len(batch.whole)).start
    gathered: list[Any] = [
        None if value is None else _Gathered.apply(value[:images], start, len(whole))
        for value in output
    ]
    terms = method.loss(HashOutput(*gathered), labels[whole], whole)
    return Share(terms, _sum(terms), 1 / processes)


def _own_share(
    method: Method, output: HashOutput, rows: Tensor, labels: Tensor, batch: int
) -> Share:
    if len(rows) == 0:
        # Every parameter needs a gradient, if one of zeros.
        return Share({}, 0.0 * output.codes.double().sum(), 0.0)
    terms = method.loss(output, labels[rows], rows)
    processes = distributed.world_size()
    if processes == 1:
        return Share(terms, _sum(terms), 1.0)
    weight = method.share(len(rows), batch)
    assert weight is not None
    return Share(terms, _sum(terms) * (weight * processes), weight)


def average_gradients(method: Method) -> None:
    """Of the method's own parameters, which DistributedDataParallel does not know."""
    if distributed.world_size() == 1:
        return
    for parameter in method.parameters():
        own = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
        parameter.grad = distributed.total(own) / distributed.world_size()


def settle(model: nn.Module, method: Method) -> None:
    """Brings together what processes hold apart within an epoch.

    Running statistics become those of process 0, as DistributedDataParallel would have it at each
    step; outputs that the code update needs become those of all processes.
    """
    if distributed.world_size() > 1:
        distributed.broadcast(list(model.buffers()))
        method.exchange(distributed.total)


def summed(terms: dict[str, Tensor]) -> dict[str, Tensor]:
    """Sums of the terms over all processes, float64 on the device of `terms`; any may lack any."""
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


def _sum(terms: dict[str, Tensor]) -> Tensor:
    return torch.stack([term.double() for term in terms.values()]).sum()


class _Gathered(torch.autograd.Function):
    """The rows of all processes. Each of them differentiates the same loss, and the gradients are
    averaged afterwards: the gradient of the own rows counts for all processes."""

    @staticmethod
    def forward(context: Any, rows: Tensor, start: int, count: int) -> Tensor:
        context.own = slice(start, start + len(rows))
        whole = rows.new_zeros(count, *rows.shape[1:])
        whole[context.own] = rows
        return distributed.total(whole)

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        return gradient[context.own] * distributed.world_size(), None, None
