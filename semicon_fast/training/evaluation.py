"""Encodes images with a model, during training and afterwards, and evaluates finished runs."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from .. import data as datasets
from .. import distributed, metrics, models
from ..codes import code_bytes
from ..data import HashingData, ImageSet, Transform, batch_count, evaluation_batches
from ..models import HashModel
from .config import Config, DataConfig
from .factory import choose_device
from .learned_codes import LearnedCodes, known_codes, load_codes, save_codes
from .resume import CODES, CONFIG, MODEL, check_finished
from .retrieval_metrics import Codes, compute_metrics
from .sides import SIDES, check_side

Progress = Callable[[int], None]


def load_data(config: DataConfig) -> HashingData:
    """Load the dataset of a configuration; with `cache` its images are decoded into memory."""
    data = datasets.load(config.name, config.root, on_broken=config.on_broken, **config.options)
    return data.cached(config.cache_size) if config.cache else data


def transform_of(config: DataConfig, train: bool) -> Transform:
    """The transform for training images (train=True) or for queries and database."""
    given = {k: v for k, v in (("mean", config.mean), ("std", config.std)) if v is not None}
    return datasets.build(config.transform, config.image_size, train and config.augment, **given)


def encode_set(
    model: HashModel,
    images: ImageSet,
    transform: Transform,
    *,
    batch_size: int,
    workers: int = 0,
    progress: Progress | None = None,
) -> Tensor:
    """Packed codes of all images in order, uint8 (N, bytes) on the CPU.

    With several processes each encodes a share of the batches and all receive all codes. The
    batches are the same as with one process. progress(batches done) is called the same number of
    times in every process.
    """
    mine = distributed.share(batch_count(len(images), batch_size))
    batches = evaluation_batches(images, transform, batch_size, workers, mine, raw=True)
    found = [torch.empty(0, code_bytes(model.code_length), dtype=torch.uint8)]
    device = next(model.parameters()).device
    for done in range(int(distributed.largest(torch.tensor(len(mine))))):
        if done < len(mine):
            pixels = next(batches).images.to(device)
            found.append(model.encode(transform.normalised(pixels)).cpu())
        if progress is not None:
            progress(done + 1)
    return distributed.gather(torch.cat(found))


def all_codes(
    model: HashModel,
    data: HashingData,
    config: Config,
    learned: LearnedCodes | None,
    progress: Progress | None = None,
) -> Codes:
    """Encode queries and database.

    learned: codes of the training images; None for methods that learn none.
    """
    options: dict[str, Any] = {
        "batch_size": config.selection.batch_size,
        "workers": config.run.workers,
        "progress": progress,
    }
    transform = transform_of(config.data, train=False)
    queries = encode_set(model, data.query, transform, **options)
    database = encode_set(model, data.database, transform, **options)
    return Codes(queries, database, *known_codes(learned, data))


def keep(folder: Path, model: HashModel, learned: LearnedCodes | None, labels: Tensor) -> None:
    """Write model.safetensors and, for methods that learn codes, codes.safetensors."""
    models.save(model, folder / MODEL)
    if learned is not None:
        save_codes(folder / CODES, learned, labels, model.code_length)


class EncodedRun(NamedTuple):
    """A finished run with its packed uint8 codes; see `Codes` for those."""

    data: HashingData
    config: Config
    model: HashModel
    queries: Tensor
    database: Tensor
    learned: Tensor | None
    centers: Tensor | None = None

    @property
    def bits(self) -> int:
        return self.model.code_length

    @property
    def codes(self) -> Codes:
        """The codes alone."""
        return Codes(self.queries, self.database, self.learned, self.centers)


def opened_run(
    run: Path | str, root: str | None, data: HashingData | None
) -> tuple[Config, HashingData, HashModel]:
    """Configuration, data and network, on the CPU, of a finished run; see `encoded_run`."""
    folder = Path(run)
    check_finished(folder, CONFIG, MODEL)
    config = Config.read(folder / CONFIG)
    if root is not None:
        place = config.data.model_copy(update={"root": str(root)})
        config = config.model_copy(update={"data": place})
    data = load_data(config.data) if data is None else data
    return config, data, models.load(folder / MODEL, config.model.code_length)


def encoded_run(
    run: Path | str,
    *,
    root: str | None = None,
    data: HashingData | None = None,
    database: str | None = None,
) -> EncodedRun:
    """Load a finished run of `Trainer` and encode its queries and database.

    Uses CUDA if available. Under torchrun each process encodes a share and receives all codes.

    Args:
        run: the run's output folder.
        root: folder of the dataset, if it has moved.
        data: the dataset, if it is already loaded.
        database: a side of the database's codes, see `SIDES`, that the run must have; nothing is
            encoded if it has none.

    Raises:
        ValueError: the folder has no finished run, or its learned codes are damaged or belong to
            other training images, or it has no codes of `database`.
    """
    check_side(database, SIDES)
    config, data, model = opened_run(run, root, data)
    learned = load_codes(Path(run) / CODES, data.train.labels)
    own, centers = known_codes(learned, data)
    there = {"learned": own, "centers": centers, "encoded": True}
    check_side(database, [name for name, codes in there.items() if codes is not None])
    device = choose_device("auto")
    distributed.join(device.type)
    codes = all_codes(model.to(device), data, config, learned)
    return EncodedRun(data, config, model.cpu(), *codes)


def evaluate_run(
    run: Path | str,
    *,
    root: str | None = None,
    topk: int | None = None,
    denominator: str = "retrieved",
    leave_one_out: bool = False,
    data: HashingData | None = None,
    database: str | None = None,
) -> dict[str, Any]:
    """`encoded_run`, then `evaluate_encoded`."""
    found = encoded_run(run, root=root, data=data, database=database)
    return distributed.on_main(
        lambda: evaluate_encoded(
            found,
            topk=topk,
            denominator=denominator,
            leave_one_out=leave_one_out,
            database=database,
        )
    )


def evaluate_encoded(
    found: EncodedRun,
    *,
    topk: int | None = None,
    denominator: str = "retrieved",
    leave_one_out: bool = False,
    database: str | None = None,
) -> dict[str, Any]:
    """Retrieval metrics of a run.

    Args:
        found: the run with its codes.
        topk: see `metrics.evaluate`.
        denominator: see `metrics.evaluate`.
        leave_one_out: leave each query's own image, if the database has it, out of its ranking.
        database: the side of the database's codes: "learned", "centers" or "encoded", see
            `sides.SIDES`; None: each that the run has.

    Returns:
        {"protocol": description of the data, "evaluation": {way: metrics}, "passed_over": what the
        data set's reader left out} for each way of computing the database's codes, and
        "queries_in_database" and "left_out" as `metrics.evaluate_galleries` counts them. The
        metrics include "curve" and, if the code has several parts, "parts".

    Raises ValueError for a side that the run has no codes of, and with leave_one_out if the
    database has the image of a query more than once.
    """
    sets = found.data.query, found.data.database
    names = [[images.identifier(i) for i in range(len(images))] for images in sets]
    own = metrics.own_rows(*names, unique=leave_one_out)
    exclude = torch.from_numpy(own) if leave_one_out else None
    codes = found.codes
    result = compute_metrics(
        codes,
        found.data,
        found.bits,
        database,
        topk=topk,
        denominator=denominator,
        curve=True,
        exclude=exclude,
    )
    if len(found.model.bit_groups) > 1:
        for way, searched in codes.by_way(database).items():
            result[way]["parts"] = metrics.part_contributions(
                codes.queries,
                searched,
                found.data.query.labels,
                found.data.database.labels,
                bits=found.bits,
                bit_groups=found.model.bit_groups,
                ties="expected",
                exclude=exclude,
            )
    shared = int((own >= 0).sum())
    return {
        "protocol": found.data.protocol,
        "evaluation": result,
        "queries_in_database": shared,
        "left_out": shared if leave_one_out else 0,
        "passed_over": found.data.passed_over,
    }
