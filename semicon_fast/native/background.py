"""A library built by a thread of low priority, while the caller goes on."""

import os
import sys
import threading
from contextlib import suppress

from .build import Library
from .toolchain import NativeBuildError

# Of the build's processes: compilers then take the processors that nothing else wants.
NICENESS = 15


class BackgroundBuild:
    """Builds `library` into its folder, without loading it for this process's operators.

    A build that fails is silent here: the first operator that wants the library tries again and
    says why it cannot be had.
    """

    def __init__(self, library: Library) -> None:
        self._folder, self._total = library.folder(), len(library.sources())
        self._thread = threading.Thread(
            target=self._build, args=(library,), name="native build", daemon=True
        )
        self._thread.start()

    def progress(self) -> tuple[int, int]:
        """(compiled files, files to compile)."""
        try:
            compiled = sum(name.endswith(".o") for name in os.listdir(self._folder))
        except OSError:
            compiled = 0
        return min(compiled, self._total), self._total

    @property
    def done(self) -> bool:
        return not self._thread.is_alive()

    def wait(self, seconds: float | None = None) -> bool:
        """Whether the build ended within `seconds`; None waits for its end."""
        self._thread.join(seconds)
        return self.done

    @staticmethod
    def _build(library: Library) -> None:
        if sys.platform == "linux":
            # There a thread has a priority of its own, which the processes it starts inherit.
            with suppress(OSError):
                os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICENESS)
        with suppress(NativeBuildError):
            library.build()
