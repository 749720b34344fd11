"""Whether torchrun started this process. Needs no torch."""

import os


def launched() -> bool:
    """As `torch.distributed.is_torchelastic_launched`."""
    return os.environ.get("TORCHELASTIC_RUN_ID") is not None
