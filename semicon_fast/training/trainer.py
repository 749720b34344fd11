"""The training loop: outer iterations, epochs, code update, evaluation, checkpoints."""

import zlib
from contextlib import closing
from pathlib import Path
from typing import Any

from torch import Tensor

from .. import distributed
from ..data import HashingData
from .checkpoint import Checkpoint, Position
from .config import Config
from .evaluation import EncodedRun, all_codes, keep, load_data, transform_of
from .factory import choose_device
from .interrupt import AgreedStop, Interrupted, Stop, StopRequested, signals
from .learner import Learner
from .progress import CHECKPOINT, EVALUATION, FEATURES, UPDATE, start_progress
from .reporter import Reporter
from .result import Result, versions
from .resume import RESULT, inspect_output
from .retrieval_metrics import compute_metrics
from .run_folder import RunFolder
from .sampler import sample
from .selection import Selection
from .state import own_settings

# Batches between two reports of the loss: reading it synchronises with the device.
REPORT_EVERY = 20


class Trainer:
    """Trains a model as configured and writes the run to the folder `output`.

    The folder contains config.json, log.jsonl and checkpoints/, and after training
    model.safetensors, codes.safetensors (for methods that learn codes) and result.json.

    Args:
        config: configuration of the run.
        data: the images, instead of those that config.data names.
        output: the run folder.
        resume: continue from the newest usable checkpoint in `output`.
        reporter: shows the progress; nothing is shown by default.
        stop: a flag by which the caller can request a stop; signals set it too.
    """

    def __init__(
        self,
        config: Config,
        data: HashingData | None = None,
        *,
        output: Path | str,
        resume: bool = False,
        reporter: Reporter | None = None,
        stop: Stop | None = None,
    ) -> None:
        self.config = config
        self.output = Path(output)
        self.resume = resume
        self.reporter = reporter or Reporter()
        self.stop = stop or Stop()
        self._agreed = AgreedStop(self.stop)
        self._given_data = data

    # The final model and codes, set by `fit`; None if the run was already finished.
    encoded: EncodedRun | None = None

    def fit(self) -> Result:
        """Train to the end. Resuming a finished run returns its result without training.

        Raises:
            Interrupted: after Ctrl-C, SIGTERM or `stop`; the message says how to resume.
            OtherProcessFailed: another process raised an error; ProcessLost: another process died.
            ValueError: the folder already contains a run (without resume), configuration or data
                differ from the checkpoint's, or the loss is not finite.
            OSError: a file could not be written; the last checkpoint is untouched.
        """
        distributed.join(choose_device(self.config.run.device).type)
        if not distributed.is_main():
            self.reporter = Reporter()
        self.folder = RunFolder(self.output, self.config, self.reporter)
        try:
            with distributed.watched():
                return self._fit()
        except distributed.ProcessLost as lost:
            raise distributed.ProcessLost(f"{lost}; {self.folder.resume_hint}") from lost

    def _fit(self) -> Result:
        finished, found = inspect_output(self.output, self.config, self.resume, self.reporter)
        if finished:
            return Result.load(self.output / RESULT)
        with own_settings(self.config.run), signals(self.stop):
            try:
                self._prepare(found)
                with closing(self.learner):
                    self._train()
                return self._finish()
            except StopRequested:
                raise self._interrupted() from None
            except RuntimeError as error:
                # Ctrl-C in a terminal kills worker processes that are still starting, possibly in
                # the middle of a step: the state in memory may be inconsistent, so it is not saved.
                if self.stop.requested and "DataLoader worker" in str(error):
                    how = self.folder.resume_hint
                    raise Interrupted(f"together with its worker processes; {how}") from None
                raise
            finally:
                self.folder.close()

    def _prepare(self, found: Checkpoint | None) -> None:
        config = self.config
        distributed.together(self._build)
        self.learner.spread()
        model, method = self.learner.model, self.learner.method
        self.selection = Selection(
            config, self.data, model, method, self.query_transform, self._encoding
        )
        distributed.together(lambda: self.learner.prepare(self.selection.kept))
        # _started: the last iteration that was started, -1 for none.
        self.at, self._started = Position(), -1
        label_sum = zlib.crc32(self.data.train.labels.numpy().tobytes())
        self._data_checksum = {"train": len(self.data.train), "labels": label_sum}
        if found is not None:
            self._restore(found)
        self.folder.open()
        self.progress = start_progress(
            self.reporter, self.learner, self.selection, self.at, self._started, self.folder.seconds
        )
        if found is None:
            self.folder.record(
                "start",
                data=self.data.name,
                protocol=self.data.protocol,
                selection=self.selection.sentence,
                images=len(self.selection.kept),
                processes=distributed.world_size(),
                versions=versions(),
                config=config.model_dump(mode="json"),
            )

    def _build(self) -> None:
        config, processes = self.config, distributed.world_size()
        if config.schedule.batch_size < processes:
            raise ValueError(
                f"schedule.batch_size must be at least the number of processes, {processes}, got "
                f"{config.schedule.batch_size}"
            )
        self.reporter.begin("reading the images", None)
        self.data = load_data(config.data) if self._given_data is None else self._given_data
        if len(self.data.train) == 0 or len(self.data.query) == 0:
            raise ValueError(f"data set {self.data.name} has no training images or no queries")
        self.query_transform = transform_of(config.data, train=False)
        self.learner = Learner(config, self.data, transform_of(config.data, train=True))

    def _restore(self, found: Checkpoint) -> None:
        """Restore the state of the run from a checkpoint."""
        state = found.state
        if state["data"] != self._data_checksum:
            raise ValueError(
                f"the training images or their labels differ from those of {self.output}: "
                f"{state['data']['train']} images then, {self._data_checksum['train']} now"
            )
        self.at = Position(*state["position"])
        self._started = state["started"]
        if self._started >= 0:
            self.learner.start_iteration(self._started, self._rows(self._started))
        self.learner.restore(found.tensors, state["learner"])
        self.selection.restore(found.tensors, state["selection"])
        self.folder.resume_from(found)

    def _train(self) -> None:
        schedule = self.config.schedule
        while self.at.iteration < schedule.iterations:
            rows = self._rows(self.at.iteration)
            if self._started != self.at.iteration:
                self._feature_pass()
                self.learner.start_iteration(self.at.iteration, rows)
                self._started = self.at.iteration
            while self.at.epoch < schedule.epochs:
                self._epoch(rows)
            self._end_iteration()

    def _epoch(self, rows: Tensor) -> None:
        config, at = self.config, self.at
        total = self.learner.batches(len(rows))
        place = f"iteration {at.iteration + 1}/{config.schedule.iterations}, epoch {at.epoch + 1}"
        self.reporter.begin(f"{place}/{config.schedule.epochs}", total, at.batch)
        self.progress.start_epoch()
        for terms in self.learner.epoch(self.at, rows):
            done = self.at.batch + 1
            self.at = self.at._replace(batch=done)
            report = done % REPORT_EVERY == 0 or done == total
            if report:
                self.learner.check_finite(self.folder.checkpoint_hint)
            known = terms and (report or self.learner.device.type == "cpu")
            self.reporter.step(done, f"loss {float(sum(terms.values())):.4f}" if known else "")
            self.progress.batch()
            if done < total:
                self._agreed.check()
        loss, lr = self.learner.end_epoch(self.folder.checkpoint_hint)
        self.at = Position(at.iteration, at.epoch + 1)
        self.folder.record(
            "epoch", iteration=at.iteration + 1, epoch=at.epoch + 1, loss=loss, lr=lr
        )
        # After the last epoch, the checkpoint is saved at the end of the iteration.
        if config.run.checkpoint_every == "epoch" and self.at.epoch < config.schedule.epochs:
            self._save()
        self._agreed.check()

    def _end_iteration(self) -> None:
        iteration = self.at.iteration
        if not self.at.updated:
            self.reporter.begin(f"iteration {iteration + 1}, code update", None)
            with self.progress.measure(UPDATE):
                self.learner.end_iteration()
            self.at = self.at._replace(updated=True)
        if self.selection.due(iteration):
            with self.progress.measure(EVALUATION):
                evaluation = self.selection.evaluate(iteration)
            self.folder.record("evaluation", **evaluation)
        self.at = Position(iteration + 1)
        self._save()
        self._agreed.check()

    def _feature_pass(self) -> None:
        """The pass over the training images, for methods that need one in this iteration."""
        method, size = self.learner.method, self.config.selection.batch_size
        if method.wants_features(self.at.iteration):
            self.reporter.begin(f"iteration {self.at.iteration + 1}, feature pass", None)
            with self.progress.measure(FEATURES):
                features = self.learner.features(self.query_transform, size, self._agreed.check)
                method.take_features(features)
            self.learner.share_method_state()

    def _finish(self) -> Result:
        learned = self.selection.choose()
        model, bits = self.learner.model, self.config.model.code_length
        both = len(self.data.query) + len(self.data.database)
        progress = self._encoding("queries and database with the final model", both)
        codes = all_codes(model, self.data, self.config, learned, progress)
        evaluation = distributed.on_main(lambda: compute_metrics(codes, self.data, bits))
        model.preprocess = self.query_transform.config()
        self.encoded = EncodedRun(self.data, self.config, model, *codes)
        labels = self.data.train.labels
        distributed.on_main(lambda: keep(self.output, model, learned, labels))
        result = Result(
            evaluation=evaluation,
            protocol=self.data.protocol,
            selection=self.selection.summary(),
            config=self.config,
            seconds=self.folder.seconds,
            command="; ".join(self.folder.commands),
            versions=versions(),
            passed_over=self.data.passed_over,
        )
        self.folder.record(
            "result",
            protocol=result.protocol,
            selection=result.selection,
            evaluation=evaluation,
        )
        self.folder.finish(result)
        return result

    def _encoding(self, what: str, images: int) -> Any:
        """Progress callback of an encoding, which also checks for a requested stop."""
        self.progress.encodes(images)
        self.reporter.begin(f"encoding {what}", None)

        def step(done: int) -> None:
            self.reporter.step(done)
            self._agreed.check()

        return step

    def _rows(self, iteration: int) -> Tensor:
        schedule, seed = self.config.schedule, self.config.run.seed
        return sample(self.selection.kept, schedule.samples, seed, iteration)

    def _save(self) -> None:
        learner, own = self.learner.state()
        selection, chosen = self.selection.state()
        state = {
            "data": self._data_checksum,
            "started": self._started,
            "learner": own,
            "selection": chosen,
        }
        with self.progress.measure(CHECKPOINT):
            self.folder.save(self.at, {**learner, **selection}, state)

    def _interrupted(self) -> Interrupted:
        self.learner.check_finite(self.folder.checkpoint_hint)
        saved = self.folder.saved
        if saved is None or saved.name != self.at.name():
            self._save()
        where = f"iteration {self.at.iteration + 1}, epoch {self.at.epoch + 1}"
        if self.at.batch:
            where += f", after batch {self.at.batch}"
        return Interrupted(f"before the end, at {where}; {self.folder.resume_hint}")
