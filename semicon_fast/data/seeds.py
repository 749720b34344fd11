"""Random generators seeded from keys, so that they do not depend on earlier draws."""

from __future__ import annotations

from hashlib import blake2b

import torch


def seed_of(*keys: str | int) -> int:
    """A 63-bit seed from a tuple of keys (BLAKE2 hash); similar keys give unrelated seeds."""
    digest = blake2b(repr(keys).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


def generator(*keys: str | int) -> torch.Generator:
    """A CPU generator seeded by `seed_of(*keys)`."""
    return torch.Generator().manual_seed(seed_of(*keys))
