"""One search of each kind that tells most about the kernels, for a profiler to watch.

ncu --clock-control none -k regex:'scan|select' python benchmarks/search_once.py
python benchmarks/search_once.py --device cpu --codes 2000     # does it run?
"""

import argparse

import torch

import semicon_fast as sf

# Bits and queries: one and three that memory bounds, a full tile of the tensor cores, and a batch.
SEARCHES = [(64, 1), (64, 3), (64, 16), (48, 1), (64, 1024), (128, 1024)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--codes", type=int, default=64_000_000)
    options = parser.parse_args()
    for bits, queries in SEARCHES:
        generator = torch.Generator(options.device).manual_seed(0)
        shape = queries + options.codes, bits // 8
        codes = torch.randint(
            0, 256, shape, generator=generator, dtype=torch.uint8, device=options.device
        )
        index = sf.HammingIndex(bits, options.device)
        index.add(codes[queries:])
        distances, _ = index.search(codes[:queries], 100)
        print(f"{queries} of {options.codes:,}, {bits} bits: nearest at {int(distances.min())}")


if __name__ == "__main__":
    main()
