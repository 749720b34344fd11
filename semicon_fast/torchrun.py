"""Reads the environment variables that torchrun sets. Does not import torch."""

import os


def launched() -> bool:
    """Whether torchrun started this process, like `torch.distributed.is_torchelastic_launched`."""
    return os.environ.get("TORCHELASTIC_RUN_ID") is not None


def rank() -> int:
    """Rank of this process among those that torchrun started; 0 without torchrun."""
    return int(os.environ.get("RANK", 0)) if launched() else 0
