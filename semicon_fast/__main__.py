"""`python -m semicon_fast` is `semicon-fast`; so is `torchrun ... -m semicon_fast`."""

from .cli import main

if __name__ == "__main__":
    main()
