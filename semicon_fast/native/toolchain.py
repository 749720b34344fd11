"""The tools that a build needs: a compiler, ninja, nvcc, and a writable folder."""

import functools
import logging
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..files import check_folder

LOG = logging.getLogger("semicon_fast")


class NativeBuildError(RuntimeError):
    """The native kernels could not be built or loaded; the message says why and what to do."""


def compiler() -> str:
    """The C++ compiler command: the environment variable CXX, or the system's default."""
    return os.environ.get("CXX") or ("cl" if sys.platform == "win32" else "c++")


def compiler_problem() -> tuple[str, str] | None:
    """Cause and remedy if there is not a working C++ compiler or no ninja, else None."""
    command = compiler()
    if shutil.which(command) is None:
        cause = f"there is no C++ compiler ({command!r} is not on PATH)"
        return cause, "Install one (Debian, Ubuntu: apt install g++) or name yours in CXX"
    if output_of(command) is None:
        cause = f"{command!r} is not a working C++ compiler ('{command} --version' fails)"
        return cause, "Name one that works in CXX, or unset CXX"
    if _ninja_folder() is None:
        return "ninja is missing", "Install it (pip install ninja)"
    return None


def output_of(command: str, *options: str) -> str | None:
    """Output of a command with `options`, by default "--version"; None if it fails."""
    try:
        done = subprocess.run(
            [command, *(options or ("--version",))],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=60,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.decode(errors="replace") if done.returncode == 0 else None


def nvcc() -> str | None:
    """The nvcc with which torch compiles extensions, or None."""
    with torch_extensions_quiet():
        from torch.utils.cpp_extension import CUDA_HOME
    found = Path(CUDA_HOME, "bin", "nvcc") if CUDA_HOME else None
    return str(found) if found and found.is_file() else None


def nvcc_release(command: str) -> str | None:
    """Release of this nvcc, such as "13.0"; None if it fails or does not print one."""
    found = re.search(r"release (\d+\.\d+)", output_of(command) or "")
    return found[1] if found else None


def nvcc_folders(command: str) -> tuple[Path, Path]:
    """Include and library folders of the toolkit, as nvcc reports them.

    They cannot be derived from the command's path if that is a wrapper script.
    """
    steps = output_of(command, "--dryrun", "-x", "cu", os.devnull) or ""
    found = re.search(r"^#\$ TOP=(.+)$", steps, re.M)
    top = Path(found[1].strip() if found else Path(command).parent.parent).resolve()
    libraries = [top / name for name in ("lib64", "lib") if (top / name).is_dir()]
    return top / "include", (libraries or [top])[0]


def nvcc_architectures(command: str) -> list[int]:
    """Compute capabilities that nvcc supports, ascending; 80 for 8.0."""
    listed = re.findall(r"^compute_(\d+)$", output_of(command, "--list-gpu-arch") or "", re.M)
    return sorted(map(int, listed))


def _ninja_folder() -> str | None:
    """The folder of ninja: on PATH, or next to Python if its environment is not activated."""
    beside = os.pathsep.join([os.environ.get("PATH", os.defpath), str(Path(sys.executable).parent)])
    found = shutil.which("ninja", path=beside)
    return None if found is None else str(Path(found).parent)


@contextmanager
def ninja_on_path() -> Iterator[None]:
    before = os.environ.get("PATH")
    os.environ["PATH"] = os.pathsep.join([before or os.defpath, _ninja_folder() or ""])
    try:
        yield
    finally:
        if before is None:
            del os.environ["PATH"]
        else:
            os.environ["PATH"] = before


@contextmanager
def torch_extensions_quiet() -> Iterator[None]:
    """Logs only errors of torch's extension builder, which warns if there is no CUDA device."""
    chatter = logging.getLogger("torch.utils.cpp_extension")
    level = chatter.level
    chatter.setLevel(logging.ERROR)
    try:
        yield
    finally:
        chatter.setLevel(level)


def cache() -> Path:
    """The folder that holds the built libraries: SEMICON_FAST_CACHE, or semicon_fast in the user's
    cache, or in the temporary files where this user has no home. It need not exist.

    Raises ValueError where SEMICON_FAST_CACHE begins with ~ and leads nowhere.
    """
    named = os.environ.get("SEMICON_FAST_CACHE") or ""
    try:
        if named:
            return Path(named).expanduser()
        home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
        return Path(home) / "semicon_fast"
    except RuntimeError as error:
        if named:
            raise ValueError(
                "SEMICON_FAST_CACHE must be a folder, got "
                f"{named!r}, and there is no home folder for its ~"
            ) from error
        return _temporary()


def _temporary() -> Path:
    """The folder of this user among the temporary files. It need not exist."""
    user = os.getuid() if hasattr(os, "getuid") else 0
    try:
        return Path(tempfile.gettempdir()) / f"semicon_fast-{user}"
    except FileNotFoundError as error:
        raise NativeBuildError(
            f"semicon_fast: there is no folder to keep the kernels in ({error.strerror}). Set "
            "SEMICON_FAST_CACHE to one that can be written."
        ) from error


def fallback(folder: Path) -> Path | None:
    """What is used in place of `folder` if that cannot be written; None if it can.

    Raises NativeBuildError if there are no temporary files, or the folder among them is another
    user's, who could put any library there.
    """
    try:
        check_folder(folder)
        if folder.parent != _temporary():
            return None
        cause = "this user has no home folder"
    except OSError as error:
        cause = error.strerror or str(error)
    base = _temporary()
    if hasattr(os, "getuid") and base.exists() and base.stat().st_uid != os.getuid():
        raise NativeBuildError(
            f"semicon_fast: no folder for the kernels ({cause}), and {base} belongs to another "
            "user. Set SEMICON_FAST_CACHE to a folder of your own."
        )
    _say_fallback(cause, base)
    return base / folder.name


@functools.cache
def _say_fallback(cause: str, base: Path) -> None:
    LOG.warning("%s; the kernels are kept in %s (SEMICON_FAST_CACHE names another)", cause, base)


def writable(folder: Path) -> Path:
    """Makes `folder`, or its `fallback` with a notice where it cannot be written."""
    taken = fallback(folder) or folder
    if taken.parent == _temporary():
        taken.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    taken.mkdir(parents=True, exist_ok=True)
    return taken
