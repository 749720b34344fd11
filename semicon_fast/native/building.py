"""Builds csrc/ at first use, into a folder of its own for each torch, machine and source."""

import hashlib
import json
import logging
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from filelock import FileLock

from ..files import atomic_write

FLAGS = ("-O3", "-pthread", "-fvisibility=hidden")
PREBUILT = "_native.json"  # in the package: what setup.py built, and its key

_NAME = "semicon_fast_native"
_MARK = "build.json"
_PACKAGE = Path(__file__).resolve().parent.parent
_LOG = logging.getLogger("semicon_fast")


class NativeBuildError(RuntimeError):
    """The native kernels could not be had; the message names the cause and the cure."""


def sources() -> list[Path]:
    """The C++ files, whether installed or in a checkout; an empty list where there are none."""
    for folder in (_PACKAGE / "csrc", _PACKAGE.parent / "csrc"):
        if found := sorted(folder.glob("*.cpp")):
            return found
    return []


def _cuda_tag() -> str:
    version = torch.version.cuda or torch.version.hip
    return f"cu{version.replace('.', '')}" if version else "cpu"


def cache_folder() -> Path:
    """Where this torch, CUDA tag, architecture and version of the sources have their library."""
    digest = hashlib.sha256(" ".join(FLAGS).encode())
    for path in sources():
        for file in (path, *sorted(path.parent.glob("*.h"))):
            digest.update(file.name.encode() + b"\0" + file.read_bytes())
    named = os.environ.get("SEMICON_FAST_CACHE") or ""
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "semicon_fast"
    key = f"torch{torch.__version__}-{_cuda_tag()}-{platform.machine()}-{digest.hexdigest()[:12]}"
    return (Path(named).expanduser() if named else base) / key


def _load_library(path: Path, cure: str) -> Path:
    try:
        torch.ops.load_library(str(path))
    except OSError as error:
        raise NativeBuildError(
            f"semicon_fast: {path} does not load with torch {torch.__version__}: {error}. {cure}"
        ) from error
    return path


def load_prebuilt() -> Path | None:
    """What `SEMICON_FAST_AOT=1 pip install` put into the package, if it is of these sources for
    this torch; anything else is left alone, with a notice."""
    record = _PACKAGE / PREBUILT
    if not record.is_file():
        return None
    about = json.loads(record.read_text("utf-8"))
    if about["key"] != cache_folder().name:
        _LOG.warning(
            "semicon_fast's kernels were built ahead of time as %s, but this is %s; that is used",
            about["key"],
            cache_folder().name,
        )
        return None
    return _load_library(_PACKAGE / str(about["library"]), "Install semicon_fast again.")


def load_cached(folder: Path) -> Path | None:
    """The library in `folder`, if a build there was finished."""
    if not (folder / _MARK).is_file():
        return None
    cure = "Delete its folder, and the next search builds it again."
    return _load_library(folder / f"{_NAME}.so", cure)


def build() -> Path:
    """The library, built where no other process has done it. Raises NativeBuildError."""
    _check_tools()
    try:
        return _built_in(_writable(cache_folder()))
    except OSError as error:
        raise NativeBuildError(
            f"semicon_fast: the native kernels cannot be kept: {error}. "
            "Set SEMICON_FAST_CACHE to a folder of yours with room."
        ) from error


def _built_in(folder: Path) -> Path:
    with FileLock(folder.with_name(folder.name + ".lock")):
        # Another process may have built it while this one waited.
        if (library := load_cached(folder)) is not None:
            return library
        # Older versions of torch wait for ever for a build that was killed; here none is running.
        (folder / "lock").unlink(missing_ok=True)
        began = time.monotonic()
        _LOG.warning("building semicon_fast's native kernels, once, in %s", folder)
        _compile_and_load(folder)
        record = {
            "torch": torch.__version__,
            "compiler": _compiler(),
            "flags": FLAGS,
            "seconds": round(time.monotonic() - began, 1),
        }
        with atomic_write(folder / _MARK, "w") as file:
            json.dump(record, file)
    return folder / f"{_NAME}.so"


def _writable(folder: Path) -> Path:
    """`folder`, or one for this user alone among the temporary files, with a notice."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return folder
    except OSError as error:
        user = os.getuid() if hasattr(os, "getuid") else 0
        base = Path(tempfile.gettempdir()) / f"semicon_fast-{user}"
        base.mkdir(mode=0o700, parents=True, exist_ok=True)
        if hasattr(os, "getuid") and base.stat().st_uid != user:
            raise NativeBuildError(
                f"semicon_fast: {folder} cannot be written ({error.strerror}) and {base} belongs "
                "to somebody else. Set SEMICON_FAST_CACHE to a folder of yours."
            ) from error
        _LOG.warning("%s cannot be written (%s); using %s", folder, error.strerror, base)
        other = base / folder.name
        other.mkdir(exist_ok=True)
        return other


def _compiler() -> str:
    return os.environ.get("CXX") or ("cl" if sys.platform == "win32" else "c++")


def _check_tools() -> None:
    """Raises NativeBuildError unless there are sources, a compiler that runs, and ninja."""
    command = _compiler()
    if not sources():
        cause, cure = "its C++ sources are not installed", "Install semicon_fast again"
    elif shutil.which(command) is None:
        cause = f"there is no C++ compiler ({command!r} is not on PATH)"
        cure = "Install one (Debian, Ubuntu: apt install g++) or name yours in CXX"
    elif not _runs(command):
        cause = f"{command!r} is no working C++ compiler ('{command} --version' fails)"
        cure = "Name one that works in CXX, or unset CXX"
    elif _ninja_folder() is None:
        cause, cure = "ninja is missing", "Install it (pip install ninja)"
    else:
        return
    raise NativeBuildError(f"semicon_fast: the native kernels cannot be built: {cause}. {cure}.")


def _runs(command: str) -> bool:
    try:
        done = subprocess.run([command, "--version"], capture_output=True, timeout=60, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0


def _ninja_folder() -> str | None:
    """The folder of ninja: on PATH, or beside a Python whose environment is not activated."""
    beside = os.pathsep.join([os.environ.get("PATH", os.defpath), str(Path(sys.executable).parent)])
    found = shutil.which("ninja", path=beside)
    return None if found is None else str(Path(found).parent)


@contextmanager
def _ninja_on_path() -> Iterator[None]:
    before = os.environ.get("PATH")
    os.environ["PATH"] = os.pathsep.join([before or os.defpath, _ninja_folder() or ""])
    try:
        yield
    finally:
        if before is None:
            del os.environ["PATH"]
        else:
            os.environ["PATH"] = before


def _compile_and_load(folder: Path) -> None:
    chatter = logging.getLogger("torch.utils.cpp_extension")
    level = chatter.level
    chatter.setLevel(logging.ERROR)  # it warns of CUDA, which these files do not use
    try:
        from torch.utils.cpp_extension import load as torch_load

        with _ninja_on_path():
            torch_load(
                _NAME,
                [str(path) for path in sources()],
                extra_cflags=list(FLAGS),
                extra_ldflags=["-pthread"],
                build_directory=str(folder),
                with_cuda=False,
                is_python_module=False,
            )
    except (RuntimeError, OSError, subprocess.SubprocessError) as error:
        raise _explained(error, folder) from error
    finally:
        chatter.setLevel(level)


def _explained(error: Exception, folder: Path) -> NativeBuildError:
    lines = str(error).splitlines() or [type(error).__name__]
    telling = (": error:", ": fatal error:", "undefined reference", "No space left", "Killed")
    first = next((line for line in lines if any(word in line for word in telling)), lines[0])
    log = folder / "build.log"
    try:
        log.write_text(str(error), "utf-8")
        where = f" The compiler's whole output is in {log}."
    except OSError:
        where = ""
    return NativeBuildError(
        f"semicon_fast: building the native kernels with {_compiler()!r} failed: {first.strip()} "
        f"Try another compiler (CXX), or set SEMICON_FAST_BACKEND=reference.{where}"
    )
