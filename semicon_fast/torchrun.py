"""What torchrun tells the processes that it starts. Needs no torch."""

import os


def launched() -> bool:
    """Whether torchrun started this process, as `torch.distributed.is_torchelastic_launched`."""
    return os.environ.get("TORCHELASTIC_RUN_ID") is not None


def rank() -> int:
    """The number of this process among those that torchrun started; 0 without torchrun."""
    return int(os.environ.get("RANK", 0)) if launched() else 0
