"""What do SEMICON's loss and code update cost when the database is large?

    python benchmarks/loss_and_codes.py
    python benchmarks/loss_and_codes.py --images 100000 --bits 24 --device cuda

A million images, 4,000 sampled, 48 bits: the n x N similarity matrix alone would need 16 GB.
"""

import argparse
import resource
import sys
import time
from collections.abc import Callable
from statistics import median
from types import SimpleNamespace

import torch
from torch import Tensor

from semicon_fast import methods


def arguments(given: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=1_000_000, help="N, of the database")
    parser.add_argument("--samples", type=int, default=4_000, help="n, sampled an iteration")
    parser.add_argument("--bits", type=int, default=48)
    parser.add_argument("--classes", type=int, default=1_000)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--batches", type=int, default=50, help="batches timed, the median shown")
    parser.add_argument("--labels", type=int, default=1, help="labels an image; 1 is one class")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=None)
    return parser.parse_args(given)


def draw_labels(images: int, classes: int, each: int, generator: torch.Generator) -> Tensor:
    """int64 (N,) for one label per image, else bool (N, C)."""
    if each == 1:
        return torch.randint(0, classes, (images,), generator=generator)
    labels = torch.zeros(images, classes, dtype=torch.bool)
    drawn = torch.randint(0, classes, (images, each), generator=generator)
    return labels.scatter_(1, drawn, True)


def seconds(work: Callable[[], object], device: str) -> float:
    if device.startswith("cuda"):
        torch.cuda.synchronize()
    start = time.perf_counter()
    work()
    if device.startswith("cuda"):
        torch.cuda.synchronize()
    return time.perf_counter() - start


def peak_mib() -> float:
    """Peak memory of this process so far. (ru_maxrss is in KiB on Linux, in bytes on macOS.)"""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2 ** (20 if sys.platform == "darwin" else 10)


def measure(options: argparse.Namespace) -> list[tuple[str, str]]:
    """(what, measurement) in the order of training: set-up, batches, code update."""
    if options.threads is not None:
        torch.set_num_threads(options.threads)
    device = options.device
    if device.startswith("cuda"):
        torch.cuda.set_device(torch.device(device).index or 0)
    generator = torch.Generator().manual_seed(0)
    before = peak_mib()
    labels = draw_labels(options.images, options.classes, options.labels, generator).to(device)
    method = methods.build("semicon")
    begin = seconds(lambda: method.begin(labels, options.bits, generator), device)
    rows = torch.randperm(options.images, generator=generator)[: options.samples].to(device)
    set_up = seconds(lambda: method.start_iteration(0, rows), device)
    outputs = torch.randn(options.samples, options.bits, generator=generator).tanh().to(device)

    def step(where: Tensor) -> None:
        codes = outputs[where].requires_grad_()
        output = SimpleNamespace(codes=codes)
        sum(method.loss(output, labels[rows[where]], rows[where]).values()).backward()

    parts = torch.arange(options.samples, device=device).split(options.batch)
    times = [seconds(lambda p=part: step(p), device) for part in parts[: options.batches]]
    for part in parts[options.batches :]:
        step(part)
    update = seconds(method.end_iteration, device)
    again = seconds(lambda: method.start_iteration(1, rows), device)
    found = [
        ("begin, once a run", f"{begin:.2f} s"),
        ("set-up of the first iteration", f"{set_up:.2f} s"),
        ("set-up of a later iteration", f"{again:.2f} s"),
        (f"loss and gradient of a batch of {options.batch}", f"{1e3 * median(times):.2f} ms"),
        ("code update (one sweep over all bits)", f"{update:.2f} s"),
        ("peak memory of the process", f"{peak_mib():.0f} MiB"),
        ("  of it before any data was made", f"{before:.0f} MiB"),
    ]
    if device.startswith("cuda"):
        peak = torch.cuda.max_memory_allocated() / 2**20
        found.append(("peak memory on the device", f"{peak:.0f} MiB"))
    return found


def main() -> None:
    options = arguments()
    print(
        f"N = {options.images:,}, n = {options.samples:,}, k = {options.bits}, "
        f"{options.classes:,} classes, {options.labels} label(s) an image, {options.device}, "
        f"{options.threads or torch.get_num_threads()} threads, torch {torch.__version__}"
    )
    for what, value in measure(options):
        print(f"{what:42} {value:>12}")


if __name__ == "__main__":
    main()
