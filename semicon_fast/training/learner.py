"""Network, method and optimiser of a run, and the training step."""

import math
from collections.abc import Callable, Generator, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from .. import distributed, methods
from ..data import (
    Batch,
    HashingData,
    Transform,
    batch_count,
    evaluation_batches,
    training_batches,
)
from ..data.seeds import generator
from ..models import HashOutput
from ..models.execution import autocast, compile_mode, compiles
from . import parallel
from .batch_norm import set_shared
from .checkpoint import Position
from .config import Config
from .factory import build_network, build_optimizer, choose_device
from .schedule import scheduled_rates
from .state import (
    Tensors,
    load_optimizer_state,
    load_random_state,
    optimizer_state,
    random_state,
    with_prefix,
    without_prefix,
)


class Learner:
    """Trains a network. `epoch` is a generator that makes one training step per item."""

    def __init__(self, config: Config, data: HashingData, transform: Transform) -> None:
        self.config, self.images, self.transform = config, data.train, transform
        self.device = choose_device(config.run.device)
        self.model = build_network(config.model, config.run.seed).to(self.device)
        if config.run.channels_last:
            self.model.to(memory_format=torch.channels_last)
        compiled = config.run.compile and compiles(self.device.type)
        if compiled:
            # In place, so that references to the module and wrappers stay valid.
            self.model.compile(mode=compile_mode(self.device))
        self.model.train()
        self.generators = {"method": generator("method", config.run.seed)}
        self.method = methods.build(config.method.name, **config.method.options)
        labels = data.train.labels
        self.method.begin(labels, config.model.code_length, self.generators["method"])
        self.method.to(self.device)
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=config.run.precision == "fp16")
        self.network: nn.Module = self.model
        self._labels, self._unshared = labels.to(self.device), False
        self._sums: dict[str, Tensor] = {}
        self._first_bad_batch = torch.full((), -1, device=self.device)
        self._count, self._position, self._stage = 0, Position(), 0
        self._loader: tuple[Position, Generator[Batch, None, None]] | None = None

    def spread(self) -> None:
        """Wrap the network for data-parallel training, if there are several processes."""
        self.network = parallel.wrap_network(self.model, self.config.run.batch_norm, self.device)

    def prepare(self, kept: Tensor) -> None:
        """Checks that the method can train on the images that are not held out, int64 (n,)."""
        self._kept = kept
        self.method.prepare(self.model, self.config.schedule.iterations, kept)
        if self.config.classifier is not None and not self.method.stages:
            raise ValueError(
                f"classifier has settings of a stage that method {self.method.name} has not; "
                "remove them, or set the method's option for its length"
            )
        self._begin_stage(0)

    def start_iteration(self, iteration: int, rows: Tensor) -> None:
        self.method.start_iteration(iteration, rows.to(self.device))
        stage = sum(iteration >= first for first in self.method.stages)
        if stage != self._stage:
            self._begin_stage(stage)
            if self.method.restarts:
                first = build_network(self.config.model, self.config.run.seed)
                self.model.load_state_dict(first.state_dict())

    def _begin_stage(self, stage: int) -> None:
        """Make the optimiser and the learning-rate schedule of a stage of the method."""
        config, self._stage = self.config, stage
        bounds = (0, *self.method.stages, config.schedule.iterations)
        self._iterations = range(bounds[stage], bounds[stage + 1])
        self._optimizer, self._schedule = config.optimizer, config.schedule
        if config.classifier is not None and stage == 0:
            self._optimizer = config.classifier.optimizer
            self._schedule = config.schedule.model_copy(update={"lr": config.classifier.lr})
        self._lr = self._optimizer.lr
        self.optimizer, self._rates = build_optimizer(self._optimizer, self.model, self.method)

    def batches(self, images: int) -> int:
        """Number of batches in an epoch over so many images."""
        return batch_count(images, self.config.schedule.batch_size, self._drop_last(images))

    def epoch(self, at: Position, rows: Tensor) -> Iterator[dict[str, Tensor]]:
        """Train on the batches of one epoch, starting at `at`; yields the loss terms of each."""
        schedule = self.config.schedule
        number = at.iteration * schedule.epochs + at.epoch
        count = self.batches(len(rows))
        before = self._iterations.start * schedule.epochs * count
        steps = len(self._iterations) * schedule.epochs * count
        self._position = at
        for position in range(at.batch, count):
            self._position = at._replace(batch=position)
            batch = self._next_batch(self._position, rows)
            self._set_rates(at.iteration, number * count + position - before, steps)
            yield self._step(batch)

    def _next_batch(self, at: Position, rows: Tensor) -> Batch:
        """The batch at `at`. One data loader serves all remaining epochs of the iteration, so that
        its workers are not restarted between epochs."""
        schedule, run = self.config.schedule, self.config.run
        if self._loader is None or self._loader[0] != at:
            made = training_batches(
                self.images,
                self.transform,
                rows,
                batch_size=schedule.batch_size,
                seed=run.seed,
                epoch=at.iteration * schedule.epochs + at.epoch,
                start=at.batch,
                drop_last=self._drop_last(len(rows)),
                workers=run.workers,
                part=(distributed.rank(), distributed.world_size()),
                epochs=schedule.epochs - at.epoch,
                raw=True,
                pinned=self.device.type == "cuda",
            )
            self._loader = at, made
        batch = next(self._loader[1])
        last = at.batch + 1 == self.batches(len(rows))
        if last and at.epoch + 1 == schedule.epochs:
            self._stop_loader()
        else:
            following = Position(at.iteration, at.epoch + 1)
            after = following if last else at._replace(batch=at.batch + 1)
            self._loader = after, self._loader[1]
        return batch

    def close(self) -> None:
        """Stop the data loader's worker processes, and end the training in several processes."""
        self._stop_loader()
        # The wrapper holds torch's process group, which then could not end its threads at exit.
        self.network = self.model

    def _stop_loader(self) -> None:
        if self._loader is not None:
            self._loader[1].close()
            self._loader = None

    def end_epoch(self, checkpoint_hint: str) -> tuple[dict[str, float], float]:
        """Means of the loss terms over the epoch, and the learning rate of its last batch.

        Raises ValueError if a loss was not finite; checkpoint_hint is the part of the message that
        names the last good checkpoint.
        """
        self.check_finite(checkpoint_hint)
        parallel.synchronise_state(self.model, self.method)
        sums = parallel.sum_over_processes(self._sums)
        means = {name: float(value / self._count) for name, value in sums.items()}
        means["total"] = math.fsum(means.values())
        self._sums, self._count = {}, 0
        return means, self._lr

    def check_finite(self, checkpoint_hint: str) -> None:
        """Raises ValueError if the loss of a batch since the last call was not finite."""
        found = [batch for batch in distributed.everyone(int(self._first_bad_batch)) if batch >= 0]
        if found:
            at, batch = self._position, min(found)
            raise ValueError(
                f"the loss is not finite in iteration {at.iteration + 1}, epoch {at.epoch + 1}, "
                f"batch {batch + 1}; {checkpoint_hint}; a smaller optimizer.lr or "
                "run.precision=fp32 may help"
            )

    def end_iteration(self) -> None:
        """Update the codes in every process, then broadcast the result of process 0."""
        self.method.end_iteration()
        self.share_method_state()

    def share_method_state(self) -> None:
        """Broadcast the method's state of process 0."""
        distributed.broadcast(list(self.method.state_dict().values()))

    def features(
        self, transform: Transform, batch_size: int, check: Callable[[], None]
    ) -> Iterator[tuple[HashOutput, Tensor]]:
        """Outputs of the network in evaluation mode for the training images that are not held out,
        and their rows, batch by batch."""
        images, workers = self.images.subset(self._kept), self.config.run.workers
        self.model.eval()
        try:
            for batch in evaluation_batches(images, transform, batch_size, workers, raw=True):
                check()
                with torch.no_grad():
                    output = self.model(transform.normalised(batch.images.to(self.device)))
                yield output, self._kept[batch.rows].to(self.device)
        finally:
            self.model.train()

    def state(self) -> tuple[Tensors, dict[str, Any]]:
        """The complete training state as (tensors, JSON-serialisable rest); collective."""
        parallel.synchronise_state(self.model, self.method)
        sums = parallel.sum_over_processes(self._sums)
        moments, rest = optimizer_state(self.optimizer)
        tensors = {
            **with_prefix("model", self.model.state_dict()),
            **with_prefix("method", self.method.state_dict()),
            **with_prefix("optimizer", moments),
            **with_prefix("random", random_state(self.generators, self.device)),
            **with_prefix("sums", sums),
        }
        return tensors, {
            "optimizer": rest,
            "scaler": self.scaler.state_dict(),
            "count": self._count,
            "terms": list(sums),
        }

    def restore(self, tensors: Tensors, rest: dict[str, Any]) -> None:
        """Inverse of `state`, after start_iteration for the iteration in which it was saved."""
        self.model.load_state_dict(without_prefix("model", tensors))
        self.method.load_state_dict(without_prefix("method", tensors))
        load_optimizer_state(
            self.optimizer, without_prefix("optimizer", tensors), rest["optimizer"]
        )
        load_random_state(without_prefix("random", tensors), self.generators, self.device)
        if rest["scaler"]:
            self.scaler.load_state_dict(rest["scaler"])
        sums = without_prefix("sums", tensors)
        # Process 0 continues with the sums of all processes.
        rest = rest if distributed.is_main() else {**rest, "terms": []}
        self._sums = {name: sums[name].to(self.device) for name in rest["terms"]}
        self._count = rest["count"]

    def _step(self, batch: Batch) -> dict[str, Tensor]:
        layout = torch.channels_last if self.config.run.channels_last else torch.contiguous_format
        # Normalise on the device: uint8 needs a quarter of the transfer of float32.
        images = self.transform.normalised(batch.images.to(self.device, non_blocking=True))
        if len(images) == 0:
            # Two: BatchNorm refuses one value a channel, as of one image of one cell.
            images = images.new_zeros(2, *images.shape[1:])
        images = images.to(memory_format=layout)
        alone = len(batch.whole) < distributed.world_size()
        if alone != self._unshared:
            set_shared(self.model, not alone)
            self._unshared = alone
        inputs = self.method.network_inputs(batch.whole)
        own = parallel.own_part(len(batch.whole))
        # Without images of its own a process passes dummy images through the plain network.
        inputs = {name: value[own.start : own.stop] for name, value in inputs.items() if own}
        with autocast(self.device, self.config.run.precision):
            output = self.network(images, **inputs)
        share = parallel.loss_share(self.method, _float32(output), batch, self._labels)
        self._accumulate(share)
        self.optimizer.zero_grad(set_to_none=True)
        self.scaler.scale(share.loss).backward()
        parallel.average_gradients(self.method)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        return {name: term.detach() for name, term in share.terms.items()}

    def _accumulate(self, share: parallel.LossShare) -> None:
        """Accumulate the terms and the first batch with a non-finite loss, on the device, since
        reading them at every step would synchronise with it."""
        for name, term in share.terms.items():
            value = term.detach().double() * share.weight
            self._sums[name] = self._sums[name] + value if name in self._sums else value
        self._count += 1
        bad = ~torch.isfinite(share.loss.detach()) & (self._first_bad_batch < 0)
        self._first_bad_batch = torch.where(bad, self._position.batch, self._first_bad_batch)

    def _drop_last(self, images: int) -> bool:
        # A last batch of one image has no pairs, and BatchNorm needs more than one image.
        size = self.config.schedule.batch_size
        return size > 1 and images > size and images % size == 1

    def _set_rates(self, iteration: int, step: int, steps: int) -> None:
        now = scheduled_rates(self._schedule, iteration, step, steps)
        self._lr = self._optimizer.lr * now.lr
        for group, rate in zip(self.optimizer.param_groups, self._rates, strict=True):
            group["lr"] = rate * now.lr
            if now.momentum is not None and "betas" in group:
                group["betas"] = (now.momentum, group["betas"][1])
            elif now.momentum is not None and group.get("momentum"):
                group["momentum"] = now.momentum


def _float32(output: HashOutput) -> HashOutput:
    return HashOutput(*(None if value is None else value.float() for value in output))  # type: ignore[arg-type]
