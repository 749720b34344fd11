"""Builds csrc/ at first use, in a separate folder for each torch, machine and source version.

There are two libraries: the kernels for the CPU, and those for CUDA (`cuda.py`).
"""

import hashlib
import json
import platform
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock

from ..files import atomic_write
from . import toolchain
from .toolchain import LOG, NativeBuildError

FLAGS = ("-O3", "-pthread", "-fvisibility=hidden")

_MARK = "build.json"
_PACKAGE = Path(__file__).resolve().parent.parent


# Folders of csrc/ with the sources of the CPU library.
FOLDERS = ("common", "hamming", "hamming/isa", "scores", "tables", "attention")


def csrc() -> Path:
    """The folder of the sources, in an installed package or in a checkout."""
    inside, beside = _PACKAGE / "csrc", _PACKAGE.parent / "csrc"
    return inside if inside.is_dir() else beside


def files_of(folders: Sequence[str], *suffixes: str) -> list[Path]:
    """The files with one of `suffixes` in these folders of csrc/, sorted."""
    found = (path for folder in folders for path in (csrc() / folder).glob("*"))
    return sorted(path for path in found if path.suffix in suffixes)


class Library:
    """A native library: its sources, how it is built, and where it is stored.

    name: stem of the library file. kernels, serves, first_use: names of the library, its device and
    its first use in messages. prebuilt: the file in the package in which setup.py records the
    library that it built, and its key.
    """

    name = "semicon_fast_native"
    kernels = "native kernels"
    serves = "the CPU"
    prebuilt = "_native.json"
    first_use = "search"

    def sources(self) -> list[Path]:
        """The files to compile; empty if the sources are not installed."""
        # library.cpp, which takes longest, comes first: compilers are started in this order.
        return [*files_of(["."], ".cpp"), *files_of(FOLDERS, ".cpp")]

    def headers(self) -> list[Path]:
        """The headers that the sources may include."""
        return files_of(FOLDERS, ".h")

    def flags(self) -> list[str]:
        return list(FLAGS)

    def key(self) -> str:
        """Identifies a build: torch, CUDA tag, architecture, and a hash of sources and flags."""
        digest = hashlib.sha256(" ".join(self.flags()).encode())
        for file in (*self.sources(), *self.headers()):
            digest.update(file.name.encode() + b"\0" + file.read_bytes())
        tag = _cuda_tag()
        return f"torch{torch.__version__}-{tag}-{platform.machine()}-{digest.hexdigest()[:12]}"

    def folder(self) -> Path:
        """The folder of a library that is built at first use; see `toolchain.cache`."""
        return toolchain.cache() / self.key()

    def problem(self) -> tuple[str, str] | None:
        """Cause and remedy if the library cannot be built here, else None."""
        if not self.sources():
            return "its C++ sources are not installed", "Install semicon_fast again"
        return toolchain.compiler_problem()

    def options(self) -> dict[str, Any]:
        """Keyword arguments of `torch.utils.cpp_extension.load`."""
        return {
            "extra_cflags": self.flags(),
            "extra_include_paths": [str(csrc())],
            "extra_ldflags": ["-pthread"],
            "with_cuda": False,
        }

    def load_prebuilt(self) -> Path | None:
        """Loads the library that `SEMICON_FAST_AOT=1 pip install` put into the package.

        Returns None if there is none, or, with a notice, if it was built from other sources or for
        another torch.
        """
        record = _PACKAGE / self.prebuilt
        if not record.is_file():
            return None
        about = json.loads(record.read_text("utf-8"))
        if about["key"] != Library.key(self):
            LOG.warning(
                "semicon_fast's %s were built ahead of time as %s, but this is %s; that is used",
                self.kernels,
                about["key"],
                Library.key(self),
            )
            return None
        return _load(_PACKAGE / str(about["library"]), "Install semicon_fast again.")

    def load_cached(self, folder: Path) -> Path | None:
        """Loads the library in `folder`, or returns None if no build was completed there."""
        if not (folder / _MARK).is_file():
            return None
        cure = f"Delete its folder, and the next {self.first_use} builds it again."
        return _load(folder / f"{self.name}.so", cure)

    def load_stored(self) -> Path | None:
        """Loads the library if it was built before, ahead of time or into a cache."""
        found = self.load_prebuilt() or self.load_cached(self.folder())
        if found is None and (other := toolchain.fallback(self.folder())) is not None:
            found = self.load_cached(other)
        return found

    def load_or_build(self) -> Path:
        """Loads the library, after building it if necessary. Raises NativeBuildError."""
        return self.load_stored() or self.build()

    def build(self) -> Path:
        """Builds and loads the library, unless another process has. Raises NativeBuildError."""
        if (problem := self.problem()) is not None:
            cause, cure = problem
            raise NativeBuildError(
                f"semicon_fast: the {self.kernels} cannot be built: {cause}. {cure}."
            )
        try:
            return self._built_in(toolchain.writable(self.folder()))
        except OSError as error:
            raise NativeBuildError(
                f"semicon_fast: the {self.kernels} cannot be stored: {error}. "
                "Set SEMICON_FAST_CACHE to a writable folder with free space."
            ) from error

    def _built_in(self, folder: Path) -> Path:
        with FileLock(folder.with_name(folder.name + ".lock")):
            # Another process may have built it while this one waited.
            if (library := self.load_cached(folder)) is not None:
                return library
            # Older versions of torch wait forever for the lock of a build that was killed. Under
            # the file lock no other build is running.
            (folder / "lock").unlink(missing_ok=True)
            began = time.monotonic()
            LOG.warning("building semicon_fast's %s, once, in %s", self.kernels, folder)
            self.compile_and_load(folder)
            record = {
                "torch": torch.__version__,
                "compiler": toolchain.compiler(),
                "flags": self.flags(),
                "seconds": round(time.monotonic() - began, 1),
            }
            with atomic_write(folder / _MARK, "w") as file:
                json.dump(record, file)
        return folder / f"{self.name}.so"

    def compile_and_load(self, folder: Path) -> None:

        try:
            with toolchain.torch_extensions_quiet(), toolchain.ninja_on_path():
                from torch.utils.cpp_extension import load as torch_load

                torch_load(
                    self.name,
                    [str(path) for path in self.sources()],
                    build_directory=str(folder),
                    is_python_module=False,
                    **self.options(),
                )
        except (RuntimeError, OSError, ValueError, subprocess.SubprocessError) as error:
            raise self._explained(error, folder) from error

    def _explained(self, error: Exception, folder: Path) -> NativeBuildError:
        lines = str(error).splitlines() or [type(error).__name__]
        telling = (": error", ": fatal error:", "undefined reference", "No space left", "Killed")
        first = next((line for line in lines if any(word in line for word in telling)), lines[0])
        log = folder / "build.log"
        try:
            log.write_text(str(error), "utf-8")
            where = f" The compiler's whole output is in {log}."
        except OSError:
            where = ""
        return NativeBuildError(
            f"semicon_fast: building the {self.kernels} with {toolchain.compiler()!r} failed: "
            f"{first.strip()} Try another compiler (CXX), or set "
            f"SEMICON_FAST_BACKEND=reference.{where}"
        )


def _cuda_tag() -> str:
    version = torch.version.cuda or torch.version.hip
    return f"cu{version.replace('.', '')}" if version else "cpu"


def _load(path: Path, cure: str) -> Path:
    try:
        torch.ops.load_library(str(path))
    except OSError as error:
        raise NativeBuildError(
            f"semicon_fast: {path} does not load with torch {torch.__version__}: {error}. {cure}"
        ) from error
    return path


CPU = Library()
