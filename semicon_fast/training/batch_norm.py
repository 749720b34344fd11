"""Synchronised BatchNorm: statistics over the parts of a batch in all processes."""

from typing import Any

import torch
from torch import Tensor, nn

from .. import distributed


class CudaSyncBatchNorm(nn.SyncBatchNorm):
    """torch's SyncBatchNorm, which supports only CUDA.

    shared: False for a batch that is in one process only, which then uses plain BatchNorm.
    """

    shared = True

    def forward(self, x: Tensor) -> Tensor:
        """x (B, C, H, W) of this process, B >= 0 -> the same shape and dtype."""
        return super().forward(x) if self.shared else super(nn.SyncBatchNorm, self).forward(x)


class CpuSyncBatchNorm(nn.BatchNorm2d):
    """Synchronised BatchNorm for the CPU, by its definition in float64, with one all-reduce in the
    forward and one in the backward pass."""

    shared = True

    def forward(self, x: Tensor) -> Tensor:
        """x (B, C, H, W) of this process, B >= 0 -> the same shape and dtype."""
        return self._synchronised(x) if self.training and self.shared else super().forward(x)

    def _synchronised(self, x: Tensor) -> Tensor:
        wide = x.double()
        count = wide.new_full((1,), x.numel() / x.shape[1])
        sums = torch.cat([wide.sum((0, 2, 3)), wide.square().sum((0, 2, 3)), count])
        sums = _AllReduce.apply(sums)
        mean, square = (sums[:-1] / sums[-1]).chunk(2)
        variance = square - mean.square()
        self._update_running_statistics(mean.detach(), variance.detach(), float(sums[-1].detach()))
        shape = (1, -1, 1, 1)
        y = (wide - mean.view(shape)) * (variance + self.eps).rsqrt().view(shape)
        if self.affine:
            y = y * self.weight.view(shape) + self.bias.view(shape)
        return y.to(x.dtype)

    @torch.no_grad()
    def _update_running_statistics(self, mean: Tensor, variance: Tensor, count: float) -> None:
        if self.running_mean is None or self.running_var is None:
            return
        assert self.num_batches_tracked is not None
        self.num_batches_tracked.add_(1)
        share = self.momentum
        if share is None:
            share = 1 / float(self.num_batches_tracked)
        self.running_mean.lerp_(mean.to(self.running_mean.dtype), share)
        unbiased = variance * (count / (count - 1))
        self.running_var.lerp_(unbiased.to(self.running_var.dtype), share)


def synchronise_batch_norm(model: nn.Module) -> None:
    """Replace every BatchNorm2d by a synchronised one with the same parameters and buffers."""
    for name, module in list(model.named_modules()):
        if type(module) is not nn.BatchNorm2d:
            continue
        on_host = module.running_mean is None or module.running_mean.is_cpu
        kind = CpuSyncBatchNorm if on_host else CudaSyncBatchNorm
        new = kind(module.num_features, module.eps, module.momentum, module.affine, False)
        new.track_running_stats = module.track_running_stats
        new.weight, new.bias = module.weight, module.bias
        for buffer in ("running_mean", "running_var", "num_batches_tracked"):
            setattr(new, buffer, getattr(module, buffer))
        model.set_submodule(name, new.train(module.training))


def set_shared(model: nn.Module, shared: bool) -> None:
    """Set whether the next batch is distributed over the processes."""
    for module in model.modules():
        if isinstance(module, (CpuSyncBatchNorm, CudaSyncBatchNorm)):
            module.shared = shared


class _AllReduce(torch.autograd.Function):
    """All-reduce (sum) over the processes; the gradient is the sum of all processes' gradients."""

    @staticmethod
    def forward(context: Any, values: Tensor) -> Tensor:
        return distributed.total(values)

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> Tensor:
        return distributed.total(gradient)
