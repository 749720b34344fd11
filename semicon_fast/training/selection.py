"""Model selection: keeps the best model on held-out images or on the queries, or the last one."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from .. import distributed, metrics
from ..data import HashingData, ImageSet, Transform
from ..methods import Method
from ..models import HashModel
from .config import Config
from .evaluation import Progress, encode_set
from .learned_codes import LearnedCodes, database_codes, pack_learned
from .sampler import hold_out
from .sides import ASYMMETRIC, SYMMETRIC
from .state import Tensors, state_copy, with_prefix, without_prefix

# (what is encoded, how many images) -> its progress
Encoding = Callable[[str, int], Progress]


class Selection:
    """Evaluates during training and keeps the best network with its learned codes.

    Methods that learn codes also learn codes of the held-out images, since they use their labels,
    but these images are not in the database that the held-out queries are searched in.

    Attributes:
        kept: int64, positions of the training images that the network is trained on.
        held: int64, positions of the held-out training images.
        best: iteration and mAP of the best model so far, None before the first evaluation.
    """

    def __init__(
        self,
        config: Config,
        data: HashingData,
        model: HashModel,
        method: Method,
        transform: Transform,
        encoding: Encoding,
    ) -> None:
        self.config, self.data, self.model = config, data, model
        self.transform, self.encoding = transform, encoding
        self.mode = config.selection.mode
        self._method, self._first = method, max(method.stages, default=0)
        everything = torch.arange(len(data.train))
        self.kept, self.held = everything, everything[:0]
        if self.mode == "holdout":
            split = hold_out(data.train.labels, config.selection.fraction, config.run.seed)
            self.kept, self.held = split.kept, split.held
        self.best: dict[str, Any] | None = None
        self._network: Tensors = {}
        self._codes: Tensor | None = None

    @property
    def sentence(self) -> str:
        """How the kept model was chosen, in words to be reported with its metrics."""
        if self.mode == "holdout":
            return (
                f"best on {len(self.held)} images held out of the training set, searched among the "
                f"{len(self.kept)} others"
            )
        if self.mode == "test":
            return "best on the test set, as in the papers: metrics on that same set are optimistic"
        return "the last"

    def due(self, iteration: int) -> bool:
        """Whether the iteration (from 0) ends with an evaluation: none before the last stage."""
        last = iteration + 1 == self.config.schedule.iterations
        if self.mode == "last" or iteration < self._first:
            return False
        return last or (iteration + 1) % self.config.selection.every == 0

    def evaluate(self, iteration: int) -> dict[str, Any]:
        """Evaluate, update the best model, and return the event for the log."""
        learned = pack_learned(self._method.learned_codes)
        if self.mode == "holdout":
            queries = self.data.train.subset(self.held)
            database = self.data.train.subset(self.kept)
            codes = None if learned is None else learned[self.kept]
        else:
            queries, database = self.data.query, self.data.database
            codes = None if learned is None else database_codes(learned, self.data)
        if not self._method.asymmetric:
            codes = None
        way = SYMMETRIC if codes is None else ASYMMETRIC
        if codes is None:
            codes = self._encode(database, f"the database to evaluate iteration {iteration + 1}")
        query_codes = self._encode(queries, f"queries to evaluate iteration {iteration + 1}")
        searched_codes = codes
        figure = distributed.on_main(
            lambda: metrics.mean_average_precision(
                query_codes,
                searched_codes,
                queries.labels,
                database.labels,
                bits=self.config.model.code_length,
                ties="expected",
            )
        )
        better = self.best is None or figure > self.best["mAP"]
        if better:
            self.best = {"iteration": iteration + 1, "mAP": figure}
            self._network, self._codes = state_copy(self.model), learned
        on = "held-out training images" if self.mode == "holdout" else "the test set"
        return {
            "iteration": iteration + 1,
            "on": on,
            "queries": len(queries),
            "database": len(database),
            "database codes": way,
            "mAP": figure,
            "best": better,
        }

    def choose(self) -> LearnedCodes | None:
        """Load the best weights into the model and return the learned codes that belong to them;
        the last ones if no model was evaluated."""
        codes = self._codes
        if self.best is None:
            codes = pack_learned(self._method.learned_codes)
        else:
            self.model.load_state_dict(self._network)
        return None if codes is None else LearnedCodes(codes, self._method.has_centers)

    def summary(self) -> dict[str, Any]:
        """Content of the result: mode, sentence, and the kept iteration with its mAP."""
        kept = self.best or {"iteration": self.config.schedule.iterations, "mAP": None}
        return {"mode": self.mode, "kept": self.sentence, **kept}

    def state(self) -> tuple[Tensors, dict[str, Any]]:
        """(tensors, JSON-serialisable rest) for a checkpoint."""
        tensors = with_prefix("best", self._network)
        if self._codes is not None:
            tensors["best codes"] = self._codes
        return tensors, {"best": self.best}

    def restore(self, tensors: Tensors, rest: dict[str, Any]) -> None:
        """Inverse of `state`."""
        self.best = rest["best"]
        self._network = without_prefix("best", tensors)
        self._codes = tensors.get("best codes")

    def _encode(self, images: ImageSet, what: str) -> Tensor:
        return encode_set(
            self.model,
            images,
            self.transform,
            batch_size=self.config.selection.batch_size,
            workers=self.config.run.workers,
            progress=self.encoding(what, len(images)),
        )
