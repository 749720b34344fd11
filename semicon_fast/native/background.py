"""A build of a library in a thread, whose progress can be shown."""

import os
import threading
from contextlib import suppress

from .build import Library
from .toolchain import NativeBuildError


class BackgroundBuild:
    """Builds `library` into its folder.

    A build that fails is silent here: the first operator that wants the library tries again and
    says why it cannot be had. An operator that is called meanwhile waits for the build.
    """

    def __init__(self, library: Library) -> None:
        self._folder, self._total = library.folder(), len(library.sources())
        # A daemon: Ctrl-C ends the process, not only the compilers.
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

    def wait(self, seconds: float | None = None) -> bool:
        """Whether the build ended within `seconds`; None waits for its end."""
        self._thread.join(seconds)
        return not self._thread.is_alive()

    @staticmethod
    def _build(library: Library) -> None:
        with suppress(NativeBuildError):
            library.build()
