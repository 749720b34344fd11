"""Builds a native library in a background thread, with progress."""

import os
import threading
from contextlib import suppress

from .build import Library
from .toolchain import NativeBuildError


class BackgroundBuild:
    """Builds `library` into its folder.

    A failure is not reported here: the first operator that needs the library builds it again and
    reports the error. An operator that is called during the build waits for it.
    """

    def __init__(self, library: Library) -> None:
        self._folder, self._total = library.folder(), len(library.sources())
        # A daemon thread, so that the process exits on Ctrl-C without waiting for the build.
        self._thread = threading.Thread(
            target=self._build, args=(library,), name="native build", daemon=True
        )
        self._thread.start()

    def progress(self) -> tuple[int, int]:
        """(number of compiled files, number of files to compile)."""
        try:
            compiled = sum(name.endswith(".o") for name in os.listdir(self._folder))
        except OSError:
            compiled = 0
        return min(compiled, self._total), self._total

    def wait(self, seconds: float | None = None) -> bool:
        """Wait up to `seconds` (None: until the end); returns whether the build has ended."""
        self._thread.join(seconds)
        return not self._thread.is_alive()

    @staticmethod
    def _build(library: Library) -> None:
        with suppress(NativeBuildError):
            library.build()
