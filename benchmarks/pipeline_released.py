"""Training and encoding as in the released code, reimplemented from its description.

Eager, float32, batches of 16, a loop over the parts, images decoded by the training process, and
the n x N similarity matrix.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from attention_cases import ReleasedNetwork
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

import semicon_fast as sf
from semicon_fast.data.transforms import IMAGENET_MEAN, IMAGENET_STD

BATCH, GAMMA = 16, 200.0


class Pictures(Dataset):
    """Images as tensors, by torchvision's transforms of Pillow images."""

    def __init__(self, paths: Sequence[Path], size: int, train: bool) -> None:
        self.paths = list(paths)
        cut: list[object] = [
            transforms.Resize(round(size * 256 / 224)),
            transforms.CenterCrop(size),
        ]
        if train:
            cut = [transforms.RandomResizedCrop(size), transforms.RandomHorizontalFlip()]
        normal = transforms.Normalize(IMAGENET_MEAN, IMAGENET_STD)
        self.transform = transforms.Compose([*cut, transforms.ToTensor(), normal])

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, row: int) -> tuple[Tensor, int]:
        with Image.open(self.paths[row]) as image:
            return self.transform(image.convert("RGB")), row


def loader(paths: Sequence[Path], size: int, train: bool) -> DataLoader:
    return DataLoader(Pictures(paths, size, train), BATCH, shuffle=train, num_workers=0)


class Training:
    """Network, loss with all N codes, and SGD as in the released code."""

    def __init__(self, model: sf.SEMICON, labels: Tensor, rows: Tensor, device: str) -> None:
        self.network = ReleasedNetwork(model).train().to(device)
        self.device, self.length = device, model.code_length
        labels = labels.to(device)
        similar = (labels[rows.to(device), None] == labels[None]).float() * 2 - 1
        ratio = similar.sum() / (1 - similar).sum()
        self.similar = similar * (1 + ratio) - ratio
        self.place = torch.full((len(labels),), -1)
        self.place[rows] = torch.arange(len(rows))
        self.codes = torch.zeros(len(labels), self.length, device=device)
        self.outputs = torch.zeros(len(rows), self.length, device=device)
        self.optimizer = torch.optim.SGD(
            self.network.parameters(), lr=2.5e-4, momentum=0.91, nesterov=True, weight_decay=1e-4
        )

    def step(self, images: Tensor, rows: Tensor) -> Tensor:
        """Train on one batch; returns the loss, on the device."""
        images = images.to(self.device)
        self.optimizer.zero_grad()
        outputs = self.network(images)
        place = self.place[rows].to(self.device)
        self.outputs[place] = outputs.detach()
        similar = self.similar[place]
        hashing = (self.length * similar - outputs @ self.codes.T).square().sum()
        distance = (outputs - self.codes[rows.to(self.device)]).square().sum()
        count = len(rows) * len(self.codes)
        loss = 12 / self.length * (hashing + GAMMA * distance) / count
        loss.backward()
        self.optimizer.step()
        return loss.detach()

    @torch.no_grad()
    def update_codes(self, rows: Tensor) -> None:
        """One sweep over the bits, with a product of all codes and all outputs for each bit."""
        outputs, codes = self.outputs, self.codes
        spread = torch.zeros_like(codes)
        spread[rows.to(self.device)] = outputs
        wanted = self.length * self.similar.T @ outputs + GAMMA * spread
        for bit in range(self.length):
            rest = [other for other in range(self.length) if other != bit]
            pull = codes[:, rest] @ outputs[:, rest].T @ outputs[:, bit]
            codes[:, bit] = torch.where(wanted[:, bit] - pull >= 0, 1.0, -1.0)


def encode(network: nn.Module, paths: Sequence[Path], size: int, device: str) -> np.ndarray:
    """Codes bool (N, k), in a loop over batches of 16 that also decodes the images."""
    found = []
    with torch.no_grad():
        for images, _ in loader(paths, size, train=False):
            found.append(network(images.to(device)).cpu() >= 0)
    return torch.cat(found).numpy()


def forward(network: nn.Module, images: Tensor) -> Iterator[Tensor]:
    """Codes of images on the device, in batches of 16."""
    with torch.no_grad():
        for batch in images.split(BATCH):
            yield network(batch)
