"""The stages that `pipeline.py` times: their engines, and checks that the results agree."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pipeline_released as released
import torch
from attention_cases import ReleasedNetwork
from PIL import Image
from torch import Tensor

import semicon_fast as sf
from semicon_fast.codes import unpack_codes
from semicon_fast.data import HashingData, ImageSet, build, training_batches
from semicon_fast.data.decode import decode
from semicon_fast.data.image_set import Files
from semicon_fast.encoding import Options, Runner, encode_images
from semicon_fast.search.gallery import Gallery
from semicon_fast.training import preset
from semicon_fast.training.checkpoint import Position
from semicon_fast.training.learner import Learner

# An engine runs once and returns the number of images that it processed.
Engine = Callable[[], int]
BITS, CLASSES = 48, 200
# CUB-200-2011: training images, samples per outer iteration, and image passes of its schedule.
DATABASE, SAMPLES, PASSES = 5994, 2000, 40 * 30 * 2000


@dataclass(frozen=True)
class Setting:
    """folder: for images and galleries. images: number per stage. size: pixels of the network's
    input. cores: number of decoding processes. epochs: in our outer iteration. repeats: how often
    our encoding repeats the images, to amortise starting its processes; passes: the same for the
    data loader."""

    folder: Path
    device: str = "cpu"
    images: int = 64
    size: int = 224
    backbone: str = "resnet50"
    precision: str = "fp32"
    compiled: bool = False
    cores: int = 2
    batch: int = released.BATCH
    epochs: int = 1
    repeats: int = 1
    passes: int = 64

    @property
    def cuda(self) -> bool:
        return self.device.startswith("cuda")

    @property
    def tolerance(self) -> float:
        return 1e-3 if self.precision == "fp32" else 5e-2

    def paths(self) -> list[Path]:
        """JPEG files of 500 x 375 pixels, CUB's usual size: smooth shapes with noise, made once."""
        paths = [self.folder / "pictures" / f"{i:05}.jpg" for i in range(self.images)]
        paths[0].parent.mkdir(parents=True, exist_ok=True)
        for number, path in enumerate(paths):
            if not path.exists():
                rng = np.random.default_rng(number)
                coarse = rng.integers(0, 255, (12, 16, 3), dtype=np.uint8)
                image = np.array(Image.fromarray(coarse).resize((500, 375), Image.BICUBIC), int)
                noisy = (image + rng.integers(-12, 12, image.shape)).clip(0, 255)
                Image.fromarray(noisy.astype(np.uint8)).save(path, quality=90)
        return paths

    def model(self) -> sf.SEMICON:
        """The official variant, as in the released code, with attention maps that are not all 0."""
        torch.manual_seed(0)
        model = sf.SEMICON(BITS, backbone=self.backbone, variant="official").eval()
        for i in range(model.parts):
            model.attention.get_submodule(f"feature{i + 1}")[1].bias.data.fill_(0.5)
        model.preprocess = build("imagenet", self.size, False).config()
        return model


def loader(setting: Setting) -> dict[str, Engine]:
    """Training batches from files: uint8, as they are normalised on the device.

    "bare decode" is an upper bound for any loader: one process per core that only decodes and
    transforms images.
    """
    paths, transform = setting.paths(), build("imagenet", setting.size, True)
    files = Files(setting.folder / "pictures", [path.name for path in paths])
    images = ImageSet("pictures", files, torch.zeros(len(paths), dtype=torch.int64), ["all"])
    rows, cores = torch.arange(len(paths)), setting.cores

    def batches() -> int:
        found = training_batches(
            images,
            transform,
            rows,
            batch_size=setting.batch,
            seed=0,
            epoch=0,
            workers=cores,
            raw=True,
            epochs=setting.passes,
        )
        return sum(len(batch.images) for batch in found)

    def old() -> int:
        return sum(len(images) for images, _ in released.loader(paths, setting.size, train=True))

    def bare() -> int:
        context = torch.multiprocessing.get_context("fork")
        shares = [(setting.passes * paths)[core::cores] for core in range(cores)]
        workers = [context.Process(target=_decode_all, args=(s, transform)) for s in shares]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        if any(worker.exitcode for worker in workers):
            raise RuntimeError("a decoding process failed")
        return setting.passes * len(paths)

    return {"released": old, "semicon_fast": batches, "bare decode": bare}


def _decode_all(paths: list[Path], transform: sf.data.Transform) -> None:
    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(0)
    for path in paths:
        transform.pixels([decode(path)], generator)


def forward(setting: Setting) -> dict[str, Engine]:
    """The network alone, from pixels on the device to codes."""
    model = setting.model()
    old = ReleasedNetwork(model).eval().to(setting.device)
    runner = Runner(model, setting.device, precision=setting.precision, compile=setting.compiled)
    shape = setting.images, 3, setting.size, setting.size
    pixels = torch.randint(0, 256, shape, dtype=torch.uint8, device=setting.device)
    images = runner.transform.normalised(pixels)
    ours = np.concatenate([runner(batch) for batch in pixels.split(released.BATCH)])
    real = torch.cat(list(released.forward(old, images))).cpu()
    agree(ours, real, setting.tolerance)

    def released_forward() -> int:
        return sum(len(codes) for codes in released.forward(old, images))

    def own() -> int:
        batches = ((batch, None) for batch in pixels.split(setting.batch))
        return sum(len(codes) for codes, _ in runner.stream(batches))

    return {"released": released_forward, "semicon_fast": own}


def agree(packed: np.ndarray, real: Tensor, tolerance: float) -> None:
    """Raises ValueError if a bit differs where the released network's output is not near 0."""
    wanted = real.numpy() >= 0
    differ = (unpack_codes(packed, BITS) > 0) != wanted
    if bool(differ.any()) and float(real.abs().numpy()[differ].max()) > tolerance:
        raise ValueError("codes differ where the released network's are not near 0")


def _data(setting: Setting) -> tuple[HashingData, Tensor]:
    """A data set with as many images and classes as CUB, made of repeated images, and a sample."""
    draw = torch.Generator().manual_seed(0)
    names = [path.name for path in setting.paths()]
    labels = torch.randint(0, CLASSES, (DATABASE,), generator=draw)
    repeated = [names[i % len(names)] for i in range(DATABASE)]
    files = Files(setting.folder / "pictures", repeated)
    train = ImageSet("pictures", files, labels, [str(i) for i in range(CLASSES)])
    rows = torch.randperm(DATABASE, generator=draw)[:SAMPLES]
    return HashingData("cub", train, train, train, "", torch.arange(DATABASE)), rows


def _learner(setting: Setting) -> tuple[Learner, Tensor]:
    data, rows = _data(setting)
    config = preset("cub-48-official").override(
        [
            f"model.options.backbone={setting.backbone}",
            "model.options.weights=null",
            f"run.device={setting.device}",
            f"run.precision={setting.precision}",
            "run.channels_last=true",
            f"run.compile={str(setting.compiled).lower()}",
            f"run.workers={setting.cores}",
            f"schedule.batch_size={setting.batch}",
        ]
    )
    learner = Learner(config, data, build("imagenet", setting.size, True))
    learner.prepare(torch.arange(len(data.train)))
    learner.model.load_state_dict(setting.model().state_dict())
    learner.start_iteration(0, rows)
    return learner, rows


def training_step(setting: Setting) -> dict[str, Engine]:
    """From a batch on the host to updated weights: forward, loss, backward, optimiser."""
    learner, rows = _learner(setting)
    old = released.Training(setting.model(), learner.images.labels, rows, setting.device)
    old.codes.copy_(learner.method.codes)
    count = max(setting.batch, setting.images)
    batches = _batches(learner, rows[:count])
    small = _batches(learner, rows[:count], released.BATCH)
    floats = [(learner.transform.normalised(b.images), b.rows) for b in small]
    losses = [float(old.step(*floats[0]))]
    losses.append(sum(float(term) for term in learner._step(small[0]).values()))
    if abs(losses[0] - losses[1]) > setting.tolerance * abs(losses[0]):
        raise ValueError(f"losses differ: released {losses[0]}, semicon_fast {losses[1]}")

    def released_steps() -> int:
        return sum(len(at) for images, at in floats if old.step(images, at) is not None)

    def own() -> int:
        return sum(len(batch.rows) for batch in batches if learner._step(batch))

    return {"released": released_steps, "semicon_fast": own}


def _batches(learner: Learner, rows: Tensor, size: int | None = None) -> list:
    size = size or learner.config.schedule.batch_size
    options = {"batch_size": size, "seed": 0, "epoch": 0, "raw": True}
    return list(training_batches(learner.images, learner.transform, rows, **options))


def outer_iteration(setting: Setting) -> dict[str, Engine]:
    """From files to updated codes: `epochs` epochs over the sample, then the code update.

    The time of the full schedule in the table is that of CUB's 2.4 million image passes at this
    rate.
    """
    learner, rows = _learner(setting)
    if setting.cuda:
        # Compilation and other one-time work happens in these steps.
        for batch in _batches(learner, rows[: 3 * setting.batch]):
            learner._step(batch)
    sample = rows if setting.epochs > 1 else rows[: max(setting.images, 2 * setting.batch)]
    old = released.Training(setting.model(), learner.images.labels, rows, setting.device)
    pictures = learner.images.source.root
    paths = [pictures / learner.images.identifier(int(row)) for row in sample]

    def released_iteration() -> int:
        # One epoch, since the released loop would take hours for as many as ours.
        for images, at in released.loader(paths, setting.size, train=True):
            old.step(images, sample[at])
        old.update_codes(rows)
        return len(sample)

    def own() -> int:
        learner.start_iteration(0, rows)
        steps = 0
        for epoch in range(setting.epochs):
            steps += sum(1 for _ in learner.epoch(Position(0, epoch), sample))
        learner.method.end_iteration()
        learner.end_epoch("none")
        return setting.epochs * len(sample)

    return {"released": released_iteration, "semicon_fast": own}


def encode(setting: Setting) -> dict[str, Engine]:
    """From JPEG files in the page cache to a gallery on disk (released: codes in memory)."""
    model, paths, output = setting.model(), setting.paths(), setting.folder / "gallery"
    old = ReleasedNetwork(model).eval().to(setting.device)
    options = Options(
        setting.batch,
        precision=setting.precision,
        compile=setting.compiled,
        workers=setting.cores if setting.cuda else None,
    )

    listing = setting.folder / "list.txt"
    listing.write_text("\n".join(map(str, setting.repeats * paths)))

    def own() -> int:
        shutil.rmtree(output, ignore_errors=True)
        made = encode_images(model, [listing], output, device=setting.device, options=options)
        return made.count

    def released_encode() -> int:
        return len(released.encode(old, paths, setting.size, setting.device))

    own()
    if len(Gallery.open(output)) != setting.repeats * len(paths):
        raise ValueError("the gallery does not hold every picture")
    return {"released": released_encode, "semicon_fast": own}


STAGES: dict[str, Callable[[Setting], dict[str, Engine]]] = {
    "loader": loader,
    "forward": forward,
    "training step": training_step,
    "encode": encode,
    "outer iteration": outer_iteration,
}
