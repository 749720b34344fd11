"""Network, method and optimiser: what one batch does to them."""

import math
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from .. import methods, models
from ..data import (
    Batch,
    HashingData,
    Transform,
    batch_count,
    evaluation_batches,
    training_batches,
)
from ..data.seeds import generator, seed_of
from ..models import HashModel, HashOutput
from .checkpoint import Position
from .config import Config, ModelConfig, OptimizerConfig
from .schedule import pace
from .state import (
    Tensors,
    load_optimizer_state,
    load_random_state,
    optimizer_state,
    prefixed,
    random_state,
    under,
)

AUTOCAST = {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}


class Learner:
    """One network under training. `epoch` is a generator of the loss terms of its batches."""

    def __init__(self, config: Config, data: HashingData, transform: Transform) -> None:
        self.config, self.images, self.transform = config, data.train, transform
        self.device = choose_device(config.run.device)
        self.model = build_network(config.model, config.run.seed).to(self.device)
        if config.run.channels_last:
            self.model.to(memory_format=torch.channels_last)
        self.model.train()
        self.generators = {"method": generator("method", config.run.seed)}
        self.method = methods.build(config.method.name, **config.method.options)
        labels = data.train.labels
        self.method.begin(labels, config.model.code_length, self.generators["method"])
        self.method.to(self.device)
        self.optimizer, self._rates = build_optimizer(config.optimizer, self.model, self.method)
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=config.run.precision == "fp16")
        self._sums: dict[str, Tensor] = {}
        self._bad = torch.full((), -1, device=self.device)
        self._count, self._lr, self._place = 0, config.optimizer.lr, Position()

    def start_iteration(self, iteration: int, rows: Tensor) -> None:
        self.method.start_iteration(iteration, rows.to(self.device))

    def batches(self, images: int) -> int:
        """Batches of an epoch over so many images."""
        return batch_count(images, self.config.schedule.batch_size, self._drop_last(images))

    def epoch(self, at: Position, rows: Tensor) -> Iterator[dict[str, Tensor]]:
        """Learns from one batch after another, from `at` on; yields the terms of each."""
        schedule, run = self.config.schedule, self.config.run
        number = at.iteration * schedule.epochs + at.epoch
        count = self.batches(len(rows))
        steps = schedule.iterations * schedule.epochs * count
        self._place = at
        batches = training_batches(
            self.images,
            self.transform,
            rows,
            batch_size=schedule.batch_size,
            seed=run.seed,
            epoch=number,
            start=at.batch,
            drop_last=self._drop_last(len(rows)),
            workers=run.workers,
        )
        for position, batch in enumerate(batches, start=at.batch):
            self._place = at._replace(batch=position)
            self._set_pace(at.iteration, number * count + position, steps)
            yield self._step(batch)

    def end_epoch(self, last_good: str) -> tuple[dict[str, float], float]:
        """Means of the terms over the epoch, and the learning rate of its last batch.

        Raises ValueError if a loss was not finite; last_good says which checkpoint is left.
        """
        self.check_finite(last_good)
        means = {name: float(value / self._count) for name, value in self._sums.items()}
        means["total"] = math.fsum(means.values())
        self._sums, self._count = {}, 0
        return means, self._lr

    def check_finite(self, last_good: str) -> None:
        """Raises ValueError if the loss of a batch since the last call was not finite."""
        batch = int(self._bad)
        if batch >= 0:
            at = self._place
            raise ValueError(
                f"the loss is not finite in iteration {at.iteration + 1}, epoch {at.epoch + 1}, "
                f"batch {batch + 1}; {last_good}; a smaller optimizer.lr or run.precision=fp32 "
                "may help"
            )

    def features(
        self, transform: Transform, batch_size: int, check: Callable[[], None]
    ) -> Iterator[tuple[HashOutput, Tensor]]:
        """Outputs of the network in evaluation mode for all training images, and their rows."""
        self.model.eval()
        try:
            for batch in evaluation_batches(
                self.images, transform, batch_size, self.config.run.workers
            ):
                check()
                with torch.no_grad():
                    output = self.model(batch.images.to(self.device))
                yield output, batch.rows.to(self.device)
        finally:
            self.model.train()

    def state(self) -> tuple[Tensors, dict[str, Any]]:
        """(tensors, JSON-able rest) of everything that learning depends on."""
        moments, rest = optimizer_state(self.optimizer)
        tensors = {
            **prefixed("model", self.model.state_dict()),
            **prefixed("method", self.method.state_dict()),
            **prefixed("optimizer", moments),
            **prefixed("random", random_state(self.generators, self.device)),
            **prefixed("sums", self._sums),
        }
        return tensors, {
            "optimizer": rest,
            "scaler": self.scaler.state_dict(),
            "count": self._count,
            "terms": list(self._sums),
        }

    def restore(self, tensors: Tensors, rest: dict[str, Any]) -> None:
        """Inverse of `state`; start_iteration was called for the iteration it was taken in."""
        self.model.load_state_dict(under("model", tensors))
        self.method.load_state_dict(under("method", tensors))
        load_optimizer_state(self.optimizer, under("optimizer", tensors), rest["optimizer"])
        load_random_state(under("random", tensors), self.generators, self.device)
        if rest["scaler"]:
            self.scaler.load_state_dict(rest["scaler"])
        sums = under("sums", tensors)
        self._sums = {name: sums[name].to(self.device) for name in rest["terms"]}
        self._count = rest["count"]

    def _step(self, batch: Batch) -> dict[str, Tensor]:
        layout = torch.channels_last if self.config.run.channels_last else torch.contiguous_format
        images = batch.images.to(self.device, non_blocking=True, memory_format=layout)
        labels, rows = batch.labels.to(self.device), batch.rows.to(self.device)
        dtype = AUTOCAST[self.config.run.precision]
        with torch.autocast(self.device.type, dtype, enabled=dtype is not None):
            output = self.model(images)
        terms = self.method.loss(_float32(output), labels, rows)
        loss = torch.stack([term.double() for term in terms.values()]).sum()
        self._remember(terms, loss.detach())
        self.optimizer.zero_grad(set_to_none=True)
        self.scaler.scale(loss).backward()
        self.scaler.step(self.optimizer)
        self.scaler.update()
        return {name: term.detach() for name, term in terms.items()}

    def _remember(self, terms: dict[str, Tensor], loss: Tensor) -> None:
        """Sums and the first bad batch stay on the device: asking for them would stop it."""
        for name, term in terms.items():
            value = term.detach().double()
            self._sums[name] = self._sums[name] + value if name in self._sums else value
        self._count += 1
        bad = ~torch.isfinite(loss) & (self._bad < 0)
        self._bad = torch.where(bad, self._place.batch, self._bad)

    def _drop_last(self, images: int) -> bool:
        # A last batch of one image has no pairs, and no statistics for batch normalisation.
        size = self.config.schedule.batch_size
        return size > 1 and images > size and images % size == 1

    def _set_pace(self, iteration: int, step: int, steps: int) -> None:
        now = pace(self.config.schedule, iteration, step, steps)
        self._lr = self.config.optimizer.lr * now.lr
        for group, rate in zip(self.optimizer.param_groups, self._rates, strict=True):
            group["lr"] = rate * now.lr
            if now.momentum is not None and "betas" in group:
                group["betas"] = (now.momentum, group["betas"][1])
            elif now.momentum is not None and group.get("momentum"):
                group["momentum"] = now.momentum


def choose_device(name: str) -> torch.device:
    """ "auto" is CUDA where there is one. Raises ValueError for a device that is not there."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise ValueError(f"run.device must be auto, cpu or cuda, got {name!r}") from None
    if device.type not in ("cpu", "cuda"):
        raise ValueError(f"run.device must be auto, cpu or cuda, got {name!r}")
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ValueError(f"run.device is {name!r}, but torch sees no CUDA device here")
    return device


def build_network(config: ModelConfig, seed: int) -> HashModel:
    """The network with its starting weights. Raises ValueError for a start that does not fit."""
    described = {"network": config.network, "code_length": config.code_length, **config.options}
    network = models.build(described, seed=seed_of("weights", seed))
    if config.start is None:
        return network
    start = models.load(config.start)
    if start.network != config.network:
        raise ValueError(
            f"model.start {config.start} is a {start.network!r} network, not {config.network!r}"
        )
    if start.code_length == config.code_length:
        network.load_state_dict(start.state_dict())
        return network
    extend = getattr(start, "extend", None)
    if extend is None:
        raise ValueError(
            f"model.start {config.start} holds {start.code_length}-bit codes, not "
            f"{config.code_length}; network {config.network!r} cannot be extended"
        )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed_of("weights", seed))
        longer: HashModel = extend(config.code_length)
    return longer


def build_optimizer(
    config: OptimizerConfig, model: HashModel, method: nn.Module
) -> tuple[torch.optim.Optimizer, list[float]]:
    """The optimiser of the network's and the method's parameters; learning rate of each group."""
    groups = model.parameter_groups(config.weight_decay)
    own = list(method.parameters())
    if own:
        groups.append({"params": own, "weight_decay": config.weight_decay, "lr_scale": 1.0})
    rates = [config.lr * group.pop("lr_scale", 1.0) for group in groups]
    for group, rate in zip(groups, rates, strict=True):
        group["lr"] = rate
    if config.name == "sgd":
        if config.nesterov and not config.momentum:
            raise ValueError("optimizer.nesterov needs an optimizer.momentum above 0")
        return torch.optim.SGD(
            groups, lr=config.lr, momentum=config.momentum, nesterov=config.nesterov
        ), rates
    if config.name == "rmsprop":
        return torch.optim.RMSprop(groups, lr=config.lr, momentum=config.momentum), rates
    kind = torch.optim.AdamW if config.name == "adamw" else torch.optim.Adam
    return kind(groups, lr=config.lr), rates


def _float32(output: HashOutput) -> HashOutput:
    parts = None if output.parts is None else output.parts.float()
    maps = None if output.maps is None else output.maps.float()
    return HashOutput(output.codes.float(), output.features.float(), parts, maps)
