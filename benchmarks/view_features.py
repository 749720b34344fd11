"""Embeddings of augmented views of photographs, as many as are wanted, for `recall.py`.

Each view is a random crop of a random photograph, flipped and changed in colour at random, and its
embedding the pooled features (1,280) of the network of `lite0_features.py`, at 128 pixels. Each is
drawn from a seed of its own, its number, so that the first N of a longer run are the N of a shorter
one; a run that was stopped goes on.

    python benchmarks/view_features.py cub100 grocery81 --count 100000 --output views.npy
"""

import argparse
from pathlib import Path

import numpy as np
import torch
from lite0_features import MEAN, STD, network
from PIL import Image
from torchvision.transforms import v2

PIXELS, BATCH, PART = 128, 64, 2048


def view(images: list[Path], number: int) -> torch.Tensor:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(number)
        path = images[int(torch.randint(len(images), ()))]
        augment = v2.Compose(
            [
                v2.RandomResizedCrop(PIXELS, scale=(0.3, 1.0)),
                v2.RandomHorizontalFlip(),
                v2.ColorJitter(0.3, 0.3, 0.3, 0.05),
                v2.ToImage(),
                v2.ToDtype(torch.float32, scale=True),
                v2.Normalize(MEAN, STD),
            ]
        )
        with Image.open(path) as image:
            return augment(image.convert("RGB"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folders", nargs="+", type=Path, help="folders of .jpg files")
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--output", type=Path, required=True)
    given = parser.parse_args()
    images = sorted(path for folder in given.folders for path in folder.rglob("*.jpg"))
    model = network()
    parts = given.output.with_suffix(".parts")
    parts.mkdir(parents=True, exist_ok=True)
    starts = range(0, given.count, PART)
    for start in starts:
        file = parts / f"{start:08}.npy"
        if file.is_file():
            continue
        numbers = range(start, start + PART)
        with torch.inference_mode():
            found = [
                model(torch.stack([view(images, n) for n in numbers[i : i + BATCH]]))
                for i in range(0, PART, BATCH)
            ]
        np.save(file.with_suffix(".tmp.npy"), torch.cat(found).numpy())
        file.with_suffix(".tmp.npy").rename(file)
        print(f"{start + PART:,} views", flush=True)
    whole = np.concatenate([np.load(parts / f"{start:08}.npy") for start in starts])[: given.count]
    np.save(given.output, whole)


if __name__ == "__main__":
    main()
